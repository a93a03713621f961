import type { Reporter, TestCase, TestModule, TestRunEndReason } from 'vitest/node'

/** Says at the end what was skipped, and the sums. The name of what is skipped carries the reason. */
export default class SkipsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], _errors: unknown, reason: TestRunEndReason) {
    const count = { passed: 0, failed: 0, skipped: 0 }
    const skipped = new Map<string, number>()
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'pending') continue
        count[state]++
        if (state !== 'skipped') continue
        const name = `${module.relativeModuleId}: ${outermost(test)}`
        skipped.set(name, (skipped.get(name) ?? 0) + 1)
      }
      if (module.state() === 'failed' && module.errors().length > 0) count.failed++
    }
    if (skipped.size > 0) {
      const lines = [...skipped].map(([name, times]) => `  ${name} (${times})\n`)
      process.stdout.write(`skipped, with the number of tests:\n${lines.join('')}`)
    }
    if (reason === 'interrupted') process.stdout.write('the run was interrupted\n')
    process.stdout.write(
      `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`,
    )
  }
}

/** The name of the group that the test is in at last, or its own. */
function outermost(test: TestCase): string {
  let name = test.name
  for (let parent = test.parent; parent.type === 'suite'; parent = parent.parent) name = parent.name
  return name
}
