import { defineConfig } from 'vitest/config'

// Real processes, real TLS, real disks: one file at a time, on the built packages.
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
