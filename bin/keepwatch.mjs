#!/usr/bin/env node
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { prepare, root } from '../scripts/prepare.mjs'
import { runKeepwatch } from '../scripts/run.mjs'

// A checkout installs what it lacks; a package has all it needs.
if (existsSync(join(root, 'src', 'main.ts'))) await prepare()
runKeepwatch(process.argv.slice(2))
