import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node'

/** Says at the end what was skipped (the name of a skipped test carries its reason), and the sums. */
export default class SkipsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], _errors: unknown, reason: TestRunEndReason) {
    const count = { passed: 0, failed: 0, skipped: 0 }
    const skipped: string[] = []
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === 'pending') continue
        count[state]++
        if (state === 'skipped') {
          const note =
            test.result().state === 'skipped' ? (test.result() as { note?: string }).note : ''
          skipped.push(`  ${module.relativeModuleId}: ${test.fullName}${note ? ` (${note})` : ''}`)
        }
      }
      if (module.state() === 'failed' && module.errors().length > 0) count.failed++
    }
    if (skipped.length > 0) process.stdout.write(`skipped:\n${skipped.join('\n')}\n`)
    if (reason === 'interrupted') process.stdout.write('the run was interrupted\n')
    process.stdout.write(
      `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`,
    )
  }
}
