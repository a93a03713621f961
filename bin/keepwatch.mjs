#!/usr/bin/env node
import { runKeepwatch } from '../scripts/run.mjs'

runKeepwatch(process.argv.slice(2))
