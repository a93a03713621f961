/** `npm start`: prepares the checkout, then runs `keepwatch pair` on the pinned Node. */
import { prepare } from './prepare.mjs'
import { runKeepwatch } from './run.mjs'

await prepare()
runKeepwatch(['pair', ...process.argv.slice(2)])
