import { expect, test, vi } from 'vitest'
import { pkcs11Seal } from '../src/index.ts'

const calls: string[] = []
let failing = false
let initialized = false

vi.mock('pkcs11js', () => ({
  default: {
    PKCS11: class {
      load() {}
      close() {}
      C_Initialize() {
        calls.push('initialize')
        if (failing) throw Object.assign(new Error('CKR_DEVICE_ERROR:48'), { code: 0x30 })
        initialized = true
      }
      C_Finalize() {
        calls.push('finalize')
        if (!initialized) throw Object.assign(new Error('CKR_CRYPTOKI_NOT_INITIALIZED:400'), { code: 0x190 })
        initialized = false
      }
      C_GetSlotList() {
        if (!initialized) throw Object.assign(new Error('CKR_CRYPTOKI_NOT_INITIALIZED:400'), { code: 0x190 })
        return []
      }
    },
  },
}))

test('a library that could not be initialized again is initialized at the next try', async () => {
  const seal = await pkcs11Seal({ lib: '/lib', tokenLabel: 'token', pin: '1', keyLabel: 'key' })
  failing = true
  await expect(seal.encrypt(new Uint8Array(1))).rejects.toThrow('CKR_DEVICE_ERROR')
  await expect(seal.encrypt(new Uint8Array(1))).rejects.toThrow('CKR_DEVICE_ERROR')
  failing = false
  await expect(seal.encrypt(new Uint8Array(1))).rejects.toThrow('there is no token with label token')
  expect(calls.filter((call) => call === 'finalize')).toHaveLength(1)
  await seal.close()
})
