/** One server with its engine and its database, as they are shipped, and if wanted a collector. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse, stringify } from 'yaml'
import { prepareDeployment, writeSettings } from '../../src/apps/pair/deployment.ts'
import { defaultPorts, type Ports } from '../../src/apps/pair/ports.ts'
import { createLog } from '../../src/lib/log.ts'
import { freePort } from '../../src/lib/ports.ts'
import { type Identity, readIdentity } from '../../src/lib/tls.ts'
import { createEmbeddedPostgres } from '../../src/store/postgres/embedded.ts'
import { openStored } from '../e2e/stored-numbers.ts'
import { cpuSecondsOf, udpSocketAt } from './proc.ts'
import { end, messageFrom, type Workshop } from './workshop.ts'

export interface Part {
  pid: number
  /** Without the processes that are measured by themselves. */
  cpuSeconds(): number
  peakBytes: number
}

export interface Site {
  parts: Record<string, Part>
  ask<T>(path: string): Promise<T>
  /** Of the collector. */
  netflow: number
  /** Where segments are delivered to, and as whom. */
  link: { url: string; identity: Identity }
  /** Waits until so many flows of the last hours are in the engine, or no more come. @returns how many are */
  stored(flows: number, hours: number): Promise<number>
  /** Waits until no more is summed up than on any other day, the engine has merged, and all is quiet. */
  settled(): Promise<void>
  stop(): Promise<void>
}

const deadlines = { startMs: 60_000, askMs: 120_000, storeMs: 3_600_000 }
/** Merges go on for a while after the last insert. */
const mergeDeadlineMs = 1_800_000
/** That are summed up at once; fewer may wait for an hour. */
const enoughRows = 2_000_000

export async function startSite(
  workshop: Workshop,
  dir: string,
  options: { collector: boolean },
): Promise<Site> {
  const ports = {} as Ports
  for (const name of Object.keys(defaultPorts) as (keyof Ports)[]) ports[name] = await freePort()
  const deployment = await prepareDeployment(dir, ports)
  const database = createEmbeddedPostgres(
    { log: createLog({ level: 'error', part: 'postgres' }) },
    { dataDir: deployment.file('postgres'), port: deployment.databasePort },
  )
  await database.start()
  writeSettings(deployment, { databaseUrl: database.url })
  const collectorFile = deployment.file('collector-1.yaml')
  const settings = parse(readFileSync(collectorFile, 'utf8')) as {
    servers: { name: string; url: string }[]
  }
  settings.servers = settings.servers.filter(({ name }) => name === 'server-a')
  writeFileSync(collectorFile, stringify(settings))
  // To read the countries of addresses takes ten seconds of a server's first minute, and of no other.
  const serverFile = deployment.file('server-a.yaml')
  const serverSettings = parse(readFileSync(serverFile, 'utf8')) as object
  writeFileSync(serverFile, stringify({ ...serverSettings, geo: { country: false } }))

  async function start(what: string, file: string) {
    const child = workshop.start(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        join(import.meta.dirname, '../../src/main.ts'),
        ...[what, '--settings', deployment.file(file)],
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] },
    )
    await messageFrom(child, deadlines.startMs)
    return child
  }
  const server = await start('server', 'server-a.yaml')
  const collector = options.collector ? await start('collector', 'collector-1.yaml') : undefined
  const base = `http://127.0.0.1:${ports.console}/api/v1`

  async function ask<T>(path: string): Promise<T> {
    const response = await fetch(`${base}${path}`, {
      headers: { authorization: `Bearer ${deployment.token}` },
      signal: AbortSignal.timeout(deadlines.askMs),
    })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return response.json() as Promise<T>
  }

  /** Flows that are not in a group of rollups yet; the most of them. */
  async function waitingRows() {
    const text = await (await fetch(`http://127.0.0.1:${ports.console}/metrics`)).text()
    const found = [...text.matchAll(/^keepwatch_store_rows_to_roll_up\{.*\} (\d+)$/gm)]
    if (found.length === 0) throw new Error('the server does not say what it has to sum up')
    return Math.max(...found.map(([, rows]) => Number(rows)))
  }

  while ((await ask<{ role: string }>('/pair').catch(() => undefined))?.role !== 'active') {
    await sleep(100)
  }
  const enginePid = childNamed(server.pid!, 'engine-process')
  return {
    parts: {
      ...(collector ? { collector: partOf(collector.pid!, []) } : {}),
      server: partOf(server.pid!, [enginePid]),
      engine: partOf(enginePid, []),
    },
    ask,
    netflow: ports.netflow,
    link: {
      url: settings.servers[0]!.url,
      identity: readIdentity(deployment.file('pki'), 'collector-1'),
    },
    async stored(flows, hours) {
      const deadline = performance.now() + deadlines.storeMs
      let seen = -1
      let unchanged = 0
      while (performance.now() < deadline) {
        const to = Math.ceil(Date.now() / 3_600_000) * 3_600_000
        const { total } = await ask<{ total: { flows: number } }>(
          `/traffic/top?by=version&metric=flows&${rangeOf(to, hours)}`,
        )
        unchanged = total.flows === seen ? unchanged + 1 : 0
        seen = total.flows
        const waiting = udpSocketAt(ports.netflow)?.waiting ?? 0
        if (seen >= flows || (unchanged > 40 && waiting === 0)) return seen
        await sleep(250)
      }
      return seen
    },
    async settled() {
      const deadline = performance.now() + mergeDeadlineMs
      const used = () => cpuSecondsOf(server.pid!)
      let cpu = used()
      while (performance.now() < deadline) {
        await sleep(2000)
        const now = used()
        if (now - cpu < 0.3 && (await waitingRows()) < enoughRows) break
        cpu = now
      }
    },
    async stop() {
      if (collector) await end(collector)
      await end(server)
      await database.stop()
    },
  }
}

/** What a stopped server's engine holds, by flow. */
export async function bytesIn(
  dir: string,
  flows: number,
): Promise<{ raw: number; rollups: number }> {
  const opened = await openStored(dir, 'server-a')
  const [sums] = await opened.query<{ raw: string; rollups: string }>(
    `SELECT sumIf(bytes_on_disk, table = 'flow') AS raw,
       sumIf(bytes_on_disk, table LIKE 'flow_%') AS rollups
     FROM system.parts WHERE active AND database = currentDatabase()`,
  )
  await opened.close()
  return { raw: Number(sums!.raw) / flows, rollups: Number(sums!.rollups) / flows }
}

export function cpuOf(parts: Record<string, Part>): Record<string, number> {
  return Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, part.cpuSeconds()]))
}

/** Notes the resident memory of each, if it is the most so far. */
export function watch(parts: Record<string, Part>) {
  for (const part of Object.values(parts)) {
    const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${part.pid}/status`, 'latin1'))
    part.peakBytes = Math.max(part.peakBytes, 1024 * Number(resident![1]))
  }
}

/** As the API takes it. @param to milliseconds since 1970 */
export function rangeOf(to: number, hours: number): string {
  return `from=${new Date(to - 3_600_000 * hours).toISOString()}&to=${new Date(to).toISOString()}`
}

function partOf(pid: number, without: number[]): Part {
  return {
    pid,
    peakBytes: 0,
    cpuSeconds: () => without.reduce((sum, other) => sum - cpuSecondsOf(other), cpuSecondsOf(pid)),
  }
}

/** The process below this one whose command line has that word. */
function childNamed(pid: number, word: string): number {
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').trim()
    for (const child of children === '' ? [] : children.split(' ').map(Number)) {
      if (readFileSync(`/proc/${child}/cmdline`, 'latin1').includes(word)) return child
    }
  }
  throw new Error(`process ${pid} has no ${word}`)
}
