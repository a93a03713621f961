import { run } from './cli/commands.ts'

await run(process.argv.slice(2))
