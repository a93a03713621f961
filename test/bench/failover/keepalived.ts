/** keepalived between two hosts of the same kind of network: only the address moves, nothing is stored. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDevices } from '../../lab/devices.ts'
import { type Host, ipv4, openNetwork } from '../../lab/network.ts'
import { type Figures, figuresOf } from './figures.ts'
import type { Progress } from './pair.ts'

const address = ipv4(9)
const program = join(import.meta.dirname, 'receiver-process.ts')
const takeoverDeadlineMs = 30_000
const arriveMs = 300
/** An instance that has just been started waits for three advertisements. */
const settleMs = 4500

export interface KeepalivedFigures {
  /** Seconds until the first datagram to the address reached the other host. */
  crash_to_first_received_s: Figures
  host_lost_to_first_received_s: Figures
  /** Datagrams to the address that reached nobody, of each run. */
  lost_per_crash: number
}

/** @param folder for its files */
export async function measureKeepalived(
  folder: string,
  runs: number,
  progress: Progress,
): Promise<KeepalivedFigures> {
  mkdirSync(folder, { recursive: true })
  const network = await openNetwork({ ka1: 11, ka2: 12, devices: 61 })
  const hosts = [network.host('ka1'), network.host('ka2')]
  const devices = createDevices(network.host('devices'), [
    {
      ...{ name: 'virtual', form: 'syslog', from: ipv4(121), to: [address], port: 514 },
      perSecond: 200,
    },
  ])
  const nodes = hosts.map(host => createNode(host, folder))
  try {
    await Promise.all(nodes.map(node => node.listen()))
    for (const node of nodes) await node.start()
    await sleep(settleMs)
    await until('one of them has the address', async () => (await holder(nodes)) !== undefined)
    await devices.start()
    devices.send()
    await sleep(1000)

    const measureFault = async (what: string, fault: (node: Node) => Promise<void>) => {
      const taken: number[] = []
      let lost = 0
      for (let run = 0; run < runs; run++) {
        const active = (await holder(nodes))!
        const other = nodes.find(node => node !== active)!
        await sleep(500 + Math.random() * 1000)
        const before = (await devices.sent()).virtual!
        other.came.length = 0
        active.came.length = 0
        const at = Date.now()
        await fault(active)
        await until('the other host is reached', async () => other.came.length > 0)
        const seconds = (other.came[0]![1] - at) / 1000
        taken.push(seconds)
        await sleep(arriveMs)
        const numbers = new Set([...active.came, ...other.came].map(([number]) => number))
        const highest = Math.max(...numbers)
        for (let number = before + 1; number <= highest; number++) if (!numbers.has(number)) lost++
        progress(`keepalived, ${what} ${run + 1}/${runs}: ${seconds.toFixed(3)} s`)
        await active.host.heal()
        await active.start()
        await sleep(settleMs)
        await until('one of them has the address', async () => (await holder(nodes)) !== undefined)
      }
      return { figures: figuresOf(taken), lost }
    }
    const crash = await measureFault('crash', node => node.kill())
    const hostLost = await measureFault('host lost', node => node.host.cut())
    return {
      crash_to_first_received_s: crash.figures,
      host_lost_to_first_received_s: hostLost.figures,
      lost_per_crash: Math.round(crash.lost / runs),
    }
  } finally {
    await devices.stop()
    await Promise.all(nodes.map(node => node.close()))
    await network.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

interface Node {
  host: Host
  came: [number: number, at: number][]
  listen(): Promise<void>
  start(): Promise<void>
  kill(): Promise<void>
  hasAddress(): Promise<boolean>
  close(): Promise<void>
}

function createNode(host: Host, folder: string): Node {
  const file = (name: string) => join(folder, `${host.name}.${name}`)
  writeFileSync(
    file('conf'),
    `global_defs { router_id ${host.name}\n vrrp_garp_master_repeat 5\n }
vrrp_instance lab {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority 100
  advert_int 1
  virtual_ipaddress { ${address}/24 }
}
`,
  )
  const came: Node['came'] = []
  let keepalived: ChildProcess | undefined
  let receiver: ChildProcess | undefined
  return {
    host,
    came,
    async listen() {
      receiver = host.spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      })
      await once(receiver, 'message', { signal: AbortSignal.timeout(20_000) })
      receiver.on('message', batch => came.push(...(batch as Node['came'])))
    },
    async start() {
      if (keepalived && keepalived.exitCode === null && keepalived.signalCode === null) return
      for (const name of ['pid', 'vrrp.pid']) rmSync(file(name), { force: true })
      keepalived = host.spawn(
        'keepalived',
        [
          ...['--dont-fork', '--vrrp', '--log-console', '--use-file', file('conf')],
          ...['--pid', file('pid'), '--vrrp_pid', file('vrrp.pid')],
        ],
        { stdio: 'ignore' },
      )
    },
    async kill() {
      const running = keepalived
      if (!running) return
      const ended = once(running, 'exit')
      for (const pid of await host.pids()) if (pid !== receiver?.pid) process.kill(pid, 'SIGKILL')
      await ended
    },
    async hasAddress() {
      return (await host.run('ip', '-4', '-o', 'address', 'show', 'dev', 'eth0')).includes(
        `${address}/`,
      )
    },
    async close() {
      await host.signalAll('SIGKILL')
    },
  }
}

async function holder(nodes: readonly Node[]): Promise<Node | undefined> {
  const held = await Promise.all(nodes.map(node => node.hasAddress()))
  if (held.filter(Boolean).length !== 1) return undefined
  return nodes[held.indexOf(true)]
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + takeoverDeadlineMs
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`keepalived: not within 30 s: ${what}`)
    await sleep(10)
  }
}
