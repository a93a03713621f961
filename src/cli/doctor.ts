import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import pg from 'pg'
import { pairSettings, setupEndpoints } from '../api/contract/setup.ts'
import { recallOther } from '../apps/server/other-server.ts'
import { readServer } from '../apps/setup/init.ts'
import { defaultSettingsFile, layoutOf } from '../apps/setup/layout.ts'
import { createPreflight, type Planned } from '../apps/setup/preflight.ts'
import { type Finding, isFit } from '../failover/preflight/finding.ts'
import type { OtherServer } from '../failover/preflight/measure.ts'
import { databaseTargets } from '../lib/database-hosts.ts'
import { type Client, openClient, Unreachable } from './client.ts'
import { describeFindings } from './findings.ts'

const databaseDeadlineMs = 5000
const runDeadlineMs = 180_000
const askEveryMs = 300

/** `keepwatch doctor`: checks every prerequisite of a pair, before the server runs too. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check every prerequisite of a pair, and say what to do')
    .option('--settings <file>', 'settings file of the server on this machine', defaultSettingsFile)
    .option('--json', 'one line of JSON on standard output', false)
    .action(async ({ settings, json }: { settings: string; json: boolean }) => {
      const findings = (await askServer(settings)) ?? (await checkServer(settings))
      const ok = isFit(findings)
      process.stdout.write(
        json ? `${JSON.stringify({ ok, findings })}\n` : describeFindings(findings),
      )
      if (!ok) process.exitCode = 1
    })
}

/** The running server knows more: it has its own rights and limits. Undefined if none runs. */
async function askServer(settings: string): Promise<Finding[] | undefined> {
  const client = openClient({ settings })
  let id: string
  try {
    id = (await client.call(setupEndpoints.startPreflight)).id
  } catch (error) {
    if (error instanceof Unreachable) return undefined
    throw error
  }
  return finished(client, id)
}

async function finished(client: Client, id: string): Promise<Finding[]> {
  const deadline = performance.now() + runDeadlineMs
  while (performance.now() < deadline) {
    const { preflight } = await client.call(setupEndpoints.getPreflight)
    if (preflight?.id === id && preflight.finished !== null) {
      if (preflight.findings.length > 0) return preflight.findings
      throw new Error('the server could not carry out the checks; its log says why')
    }
    await sleep(askEveryMs)
  }
  throw new Error(`the server has not finished its checks within ${runDeadlineMs / 1000} s`)
}

/**
 * The same without a server.
 *
 * @param primary the first server, where it was just named; else the database is asked for the other
 */
export async function checkServer(
  file: string,
  primary?: { name: string; linkHost: string; linkPort: number },
): Promise<Finding[]> {
  const settings = readServer(file)
  const { settings: path } = layoutOf(file)
  const { openSettings } = await import('../apps/server/opened.ts')
  const { dataDir, identity } = openSettings(settings, path)
  const { url } = settings.database
  const known = url === undefined ? fromDisk(dataDir) : await fromDatabase(url, settings.name)
  const other = primary ?? known.other
  return createPreflight(
    {
      identity,
      other: async () =>
        other && ({ name: other.name, host: other.linkHost, port: other.linkPort } as OtherServer),
      planned: async () => known.planned,
      running: () => undefined,
    },
    { settings, file: path },
  ).run()
}

/** Of a server with a database of its own, which does not run. */
function fromDisk(dataDir: string): Known {
  const other = recallOther(dataDir)
  return {
    planned: { connection: { type: 'none' }, sharedFolder: null },
    other: other && { name: other.name, linkHost: other.host, linkPort: other.port },
  }
}

interface Known {
  planned: Planned
  other: { name: string; linkHost: string; linkPort: number } | undefined
}

/** What was set for the pair, and who else is in it; nothing where the database is new or away. */
async function fromDatabase(url: string, own: string): Promise<Known> {
  const nothing: Known = {
    planned: { connection: { type: 'none' }, sharedFolder: null },
    other: undefined,
  }
  for (const target of databaseTargets(url)) {
    const client = new pg.Client({
      ...target,
      connectionTimeoutMillis: databaseDeadlineMs,
      query_timeout: databaseDeadlineMs,
    })
    client.on('error', () => {})
    try {
      await client.connect()
    } catch {
      // The check of the database says what is wrong with it.
      continue
    }
    try {
      const { rows: set } = await client.query('SELECT settings FROM pair_settings')
      const { rows: others } = await client.query(
        `SELECT name, link_host AS "linkHost", link_port AS "linkPort" FROM servers
         WHERE name <> $1 ORDER BY seen_at DESC LIMIT 1`,
        [own],
      )
      return { planned: pairSettings.parse(set[0]?.settings ?? {}), other: others[0] }
    } catch {
      // No tables yet: a new deployment.
      return nothing
    } finally {
      await client.end().catch(() => {})
    }
  }
  return nothing
}
