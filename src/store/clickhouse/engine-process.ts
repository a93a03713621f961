/**
 * The process of the embedded engine: a crash of the engine ends it and nothing else. It is told
 * what to do by its parent over IPC, serves ClickHouse's HTTP protocol on the loopback address, and
 * ends at once when its parent does.
 */
import { once } from 'node:events'
import { mkdir, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EngineOrder, EngineReport } from './engine-protocol.ts'
import { createHttp } from './http.ts'
import { createSessionPool, type SessionPool } from './session-pool.ts'

/** How long the engine of a killed parent may take to let go of the directory. */
const lockDeadlineMs = 20_000
const lockRetryMs = 100
/** How long queries may go on after the order to stop. */
const drainDeadlineMs = 5_000
const loadEveryMs = 5_000

// Nothing is lost by so sudden an end: what was acknowledged is on disk, the rest is sent again.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'))

let stopOrdered = () => {}
const stopOrder = new Promise<void>(resolve => {
  stopOrdered = resolve
})
const order = await new Promise<EngineOrder & { type: 'open' }>(resolve => {
  process.on('message', (message: EngineOrder) => {
    if (message.type === 'open') resolve(message)
    else stopOrdered()
  })
})

const incoming = join(order.dataDir, 'incoming')
const pool = createSessionPool({
  path: join(order.dataDir, 'engine'),
  sessions: order.sessions,
  queue: order.queue,
  engineArguments: engineArguments(order.maxMemoryBytes),
})
await mkdir(join(order.dataDir, 'engine'), { recursive: true, mode: 0o700 })
await open(pool)
// Only now, because the directory's lock came with the engine.
await rm(incoming, { recursive: true, force: true })
await mkdir(incoming, { mode: 0o700 })

const http = createHttp(pool, {
  username: order.username,
  password: order.password,
  incoming,
})
await listen(order.port).catch(() => listen(0))
report({ type: 'ready', port: (http.address() as AddressInfo).port })

const load = setInterval(() => {
  report({
    type: 'load',
    running: pool.running,
    queued: pool.queued,
    memoryBytes: process.memoryUsage.rss(),
  })
}, loadEveryMs)

await stopOrder
clearInterval(load)
http.close()
http.closeIdleConnections()
const deadline = performance.now() + drainDeadlineMs
while (pool.running + pool.queued > 0 && performance.now() < deadline) await sleep(20)
pool.close()
process.exit(0)

/** The engine locks its directory itself; an engine that is on its way out is waited for. */
async function open(pool: SessionPool) {
  const deadline = performance.now() + lockDeadlineMs
  for (;;) {
    try {
      pool.open()
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await sleep(lockRetryMs)
    }
  }
}

async function listen(port: number) {
  http.listen(port, '127.0.0.1')
  await once(http, 'listening')
}

function report(message: EngineReport) {
  // A parent that is gone is noticed by `disconnect`.
  process.send?.(message, () => {})
}

/**
 * Limits for an engine that shares a small machine with another one and with everything else.
 * Caches and pools that are not named follow from the memory limit or are not used here.
 */
function engineArguments(maxMemoryBytes: number): string[] {
  const part = (share: number) => Math.round(maxMemoryBytes * share)
  const settings = {
    max_server_memory_usage: maxMemoryBytes,
    max_memory_usage: part(0.6),
    // For each thread of a question the engine wants gigabytes free, and gives it one without them.
    max_threads_min_free_memory_per_thread: part(0.02),
    max_bytes_before_external_group_by: part(0.25),
    max_bytes_before_external_sort: part(0.25),
    mark_cache_size: part(0.06),
    primary_index_cache_size: part(0.06),
    index_mark_cache_size: part(0.02),
    query_condition_cache_size: part(0.02),
    compiled_expression_cache_size: part(0.02),
    background_pool_size: 2,
    background_merges_mutations_concurrency_ratio: 1,
    background_common_pool_size: 1,
    background_move_pool_size: 1,
    background_fetches_pool_size: 1,
    background_schedule_pool_size: 2,
    max_thread_pool_free_size: 16,
    // The engine could not tell of a crash: it ends, and its parent says so.
    'logger.level': 'none',
  }
  return Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
}
