import { defaultServerConditions } from 'vite'
import { defineConfig } from 'vitest/config'

// The '@lockstep/source' condition resolves every sibling package to its TypeScript source, so tests need no build.
export default defineConfig({
  ssr: { resolve: { conditions: ['@lockstep/source', ...defaultServerConditions] } },
  resolve: { conditions: ['@lockstep/source', ...defaultServerConditions] },
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    // Against hanging, not for speed: a machine may be busy.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
  },
})
