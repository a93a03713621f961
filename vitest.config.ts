import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Beside the code like all unit tests, but with real sessions and real waits: not for every save. */
const withWaits = [
  'src/apps/simulation/ssh-device.test.ts',
  'src/collect/deliver.test.ts',
  'src/devices/session.test.ts',
]

/**
 * Suites that start processes and watch what they do. They wait more than they compute, so some run
 * side by side; suites of one group share its workers, and the groups run one after the other.
 */
const withProcesses = [
  // Engines and databases.
  { group: 1, name: 'store', include: ['src/store/**/*.test.ts'] },
  // Servers that are killed and frozen, on a real database.
  { group: 1, name: 'failover', include: ['test/failover/**/*.test.ts'] },
  // Mail servers and webhooks that fail; senders that are killed.
  { group: 1, name: 'notify', include: ['test/notify/**/*.test.ts'] },
  // Collectors and receivers: killed, cut off, their disk filled.
  { group: 1, name: 'collect', include: ['test/collect/**/*.test.ts'] },
  // A real SNMP agent.
  { group: 1, name: 'interfaces', include: ['test/interfaces/**/*.test.ts'] },
  // The API on a real database, and in a real browser.
  { group: 1, name: 'api', include: ['test/api/**/*.test.ts'] },
  // Servers, their database and devices on hosts of their own, in network namespaces: every fault.
  { group: 2, name: 'lab', include: ['test/lab/**/*.test.ts'] },
  // Whole deployments.
  { group: 2, name: 'e2e', include: ['test/e2e/**/*.test.ts'] },
]
const workers = { 1: 3, 2: 2 }

/** Files that take minutes: begun last, they would leave the other workers idle at the end. */
const longest = [
  'test/e2e/upgrade.test.ts',
  'test/e2e/replicated.test.ts',
  'test/collect/pair.test.ts',
  'test/failover/explore.test.ts',
  'test/failover/takeover.test.ts',
  'test/failover/vote-explore.test.ts',
  'test/e2e/kill.test.ts',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = longest.findIndex(name => moduleId.endsWith(name))
      return index < 0 ? longest.length : index
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/** Those of `npm run check`, which says so when they have passed for the very same files. */
const unitTests = [
  {
    test: {
      name: 'unit',
      // For a hang, not for a busy machine.
      testTimeout: 30_000,
      include: ['src/**/*.test.ts', 'test/*.test.ts', 'test/fuzz/*.test.ts'],
      exclude: ['src/store/**', ...withWaits],
    },
  },
  {
    test: { name: 'web', include: ['web/src/**/*.test.ts'], environment: 'node' as const },
  },
]

export default defineConfig({
  test: {
    globalSetup: ['test/leaks.ts'],
    sequence: { sequencer: LongestFirst },
    projects: [
      ...(process.env.KEEPWATCH_UNIT_TESTS === 'passed' ? [] : unitTests),
      { test: { name: 'waits', include: withWaits } },
      { test: { name: 'captures', include: ['test/captures/**/*.test.ts'] } },
      ...withProcesses.map(({ group, ...project }) => ({
        test: {
          ...project,
          maxWorkers: workers[group as keyof typeof workers],
          sequence: { groupOrder: group },
        },
      })),
    ],
  },
})
