import { defineConfig } from 'vitest/config'

/** Beside the code like all unit tests, but with real sessions and real waits: not for every save. */
const withWaits = [
  'src/apps/simulation/ssh-device.test.ts',
  'src/collect/deliver.test.ts',
  'src/devices/session.test.ts',
]

/** Suites that start processes and measure what they do: one file at a time, one suite after another. */
const withProcesses = [
  // Engines and databases.
  { name: 'store', include: ['src/store/**/*.test.ts'], maxWorkers: 2 },
  // Servers that are killed and frozen, on a real database.
  { name: 'failover', include: ['test/failover/**/*.test.ts'], maxWorkers: 2 },
  // Mail servers and webhooks that fail; senders that are killed.
  { name: 'notify', include: ['test/notify/**/*.test.ts'], maxWorkers: 2 },
  // Collectors and receivers: killed, cut off, their disk filled.
  { name: 'collect', include: ['test/collect/**/*.test.ts'] },
  // The API on a real database, and in a real browser.
  { name: 'api', include: ['test/api/**/*.test.ts'] },
  // Servers, their database and devices on hosts of their own, in network namespaces: every fault.
  { name: 'lab', include: ['test/lab/**/*.test.ts'] },
  // Whole deployments.
  { name: 'e2e', include: ['test/e2e/**/*.test.ts'] },
]

export default defineConfig({
  test: {
    globalSetup: ['test/leaks.ts'],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/*.test.ts'],
          exclude: ['src/store/**', ...withWaits],
        },
      },
      { test: { name: 'web', include: ['web/src/**/*.test.ts'], environment: 'node' } },
      { test: { name: 'waits', include: withWaits } },
      { test: { name: 'captures', include: ['test/captures/**/*.test.ts'] } },
      ...withProcesses.map((project, index) => ({
        test: { maxWorkers: 1, ...project, sequence: { groupOrder: index + 1 } },
      })),
    ],
  },
})
