import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/architecture.test.ts'],
          exclude: ['src/store/**'],
        },
      },
      // These start engines and databases: few at a time.
      { test: { name: 'store', include: ['src/store/**/*.test.ts'], maxWorkers: 2 } },
      // Processes that are killed and frozen, measured in seconds: one file at a time.
      { test: { name: 'failover', include: ['test/failover/**/*.test.ts'], maxWorkers: 1 } },
      // Collectors and receivers as processes: killed, cut off, their disk filled.
      { test: { name: 'collect', include: ['test/collect/**/*.test.ts'], maxWorkers: 1 } },
      // Whole deployments: one at a time.
      { test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], maxWorkers: 1 } },
      { test: { name: 'captures', include: ['test/captures/**/*.test.ts'] } },
      { test: { name: 'web', include: ['web/src/**/*.test.ts'], environment: 'node' } },
    ],
  },
})
