import { defaultServerConditions } from 'vite'
import { defineConfig } from 'vitest/config'

// The '@lockstep/source' condition resolves every sibling package to its TypeScript source, so tests need no build.
export default defineConfig({
  ssr: { resolve: { conditions: ['@lockstep/source', ...defaultServerConditions] } },
  resolve: { conditions: ['@lockstep/source', ...defaultServerConditions] },
  test: {
    retry: process.env.CI ? 1 : 0,
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
