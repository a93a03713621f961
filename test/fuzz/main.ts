/**
 * `npm run fuzz`: every decoder, a million inputs each. Says for each how many rows and counted
 * problems came of them, the slowest input, and by how much the heap has grown; ends with an error,
 * and the input, if one throws, takes seconds, or is remembered beyond its bounds.
 *
 * Options: --inputs N (1000000), --seed S.
 */
import { parseArgs } from 'node:util'
import { createRandom } from '../fixtures/mutate.ts'
import { feedTarget, targets } from './decoders.ts'

const mostGrownBytes = 8 * 1024 * 1024

const { values } = parseArgs({
  options: { inputs: { type: 'string', default: '1000000' }, seed: { type: 'string' } },
})
const inputs = Number(values.inputs)
const seed = values.seed === undefined ? Date.now() % 2 ** 31 : Number(values.seed)
if (!(inputs >= 10) || !Number.isInteger(seed)) {
  process.stderr.write('fuzz: --inputs must be a number from 10, --seed a whole number\n')
  process.exit(2)
}
process.stdout.write(`seed ${seed}\n`)
for (const target of targets()) {
  const fed = feedTarget(target, inputs, createRandom(seed))
  const grown = fed.grownBytes ?? 0
  process.stdout.write(
    `${target.name}: ${fed.inputs} inputs from ${target.corpus.length}, ${fed.rows} rows, ` +
      `${fed.problems} problems counted, ${Math.round(fed.inputs / fed.seconds)}/s, ` +
      `slowest ${fed.slowestMs.toFixed(1)} ms, heap ${(grown / 1024).toFixed(0)} KiB more\n`,
  )
  if (grown > mostGrownBytes) throw new Error(`${target.name} has grown by ${grown} bytes`)
}
