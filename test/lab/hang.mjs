/** Loaded into a server of the lab: at SIGUSR2 its main loop hangs for as long as the file says. */
import { readFileSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'

if (isMainThread && process.argv.includes('server')) {
  process.on('SIGUSR2', () => {
    const ms = Number(readFileSync(process.env.KEEPWATCH_LAB_HANG, 'utf8'))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  })
}
