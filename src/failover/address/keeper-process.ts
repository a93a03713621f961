/**
 * The process that keeps the virtual addresses: a child of the server, in a session of its own. It
 * outlives the server by the moment that it takes to drop them.
 */
import { open, readFile, rename } from 'node:fs/promises'
import type { Clock } from '../../lib/clock.ts'
import { createKeeper, type Keeper, type KeeperDeps } from './keeper.ts'
import type { KeeperOrder, KeeperReport } from './keeper-protocol.ts'
import { createKernel } from './kernel.ts'

/** Reports that a server which does not read may leave waiting; more are left out. */
const mostUnread = 100
const dropAgainMs = 100
/** After it the kernel has dropped the addresses by itself. */
const lastTryMs = 60_000

const clock: Clock = {
  monotonic: () => Number(process.hrtime.bigint()) / 1e6,
  wall: () => Date.now(),
}
let keeper: Keeper | undefined
let unread = 0

// It ends with the server, which has to let go in order first: both are sent a signal together when
// a service is stopped.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})

process.on('message', (order: KeeperOrder) => {
  if (order.do === 'hold') keeper?.hold(order.hold)
  else void obey(order)
})

process.on('disconnect', () => {
  void (async () => {
    const giveUpAt = clock.monotonic() + lastTryMs
    for (;;) {
      try {
        await keeper?.stop()
        process.exit(0)
      } catch (error) {
        if (clock.monotonic() > giveUpAt) {
          process.stderr.write(`the virtual address could not be dropped: ${error}\n`)
          process.exit(1)
        }
        await new Promise(resolve => setTimeout(resolve, dropAgainMs))
      }
    }
  })()
})

async function obey(order: Exclude<KeeperOrder, { do: 'hold' }>) {
  try {
    await carryOut(order)
    say({ say: 'done', id: order.id })
  } catch (error) {
    say({ say: 'done', id: order.id, fault: (error as Error).message })
    return
  }
  if (order.do === 'stop') process.disconnect()
}

async function carryOut(order: Exclude<KeeperOrder, { do: 'hold' }>): Promise<void> {
  if (order.do === 'open') {
    const deps = { clock, kernel: createKernel(), memory: createMemory(order.file), report: say }
    keeper = createKeeper(deps, order.config)
    return keeper.open(order.hold, order.term)
  }
  if (keeper === undefined) throw new Error('not opened')
  switch (order.do) {
    case 'configure':
      return keeper.configure(order.config)
    case 'take':
      return keeper.take(order.term)
    case 'drop':
      return keeper.drop()
    case 'stop':
      return keeper.stop()
  }
}

function say(report: KeeperReport) {
  if (!process.connected || (unread >= mostUnread && report.say !== 'done')) return
  unread++
  process.send!(report, undefined, undefined, () => {
    unread--
  })
}

/** The list of addresses as a small file: whole at every moment, one write after another. */
function createMemory(file: string): KeeperDeps['memory'] {
  let turn: Promise<unknown> = Promise.resolve()
  return {
    async read() {
      try {
        const { added } = JSON.parse(await readFile(file, 'utf8')) as { added: unknown }
        return Array.isArray(added) ? added.filter(one => typeof one === 'string') : []
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw error
      }
    },
    write(addresses) {
      const written = turn.then(async () => {
        const temporary = `${file}.new`
        const handle = await open(temporary, 'w', 0o644)
        try {
          await handle.writeFile(`${JSON.stringify({ added: addresses })}\n`)
          await handle.sync()
        } finally {
          await handle.close()
        }
        await rename(temporary, file)
      })
      turn = written.catch(() => {})
      return written
    },
  }
}
