/** `keepwatch failover …`: what a person does with a pair. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import type { z } from 'zod'
import { noticeEndpoints } from '../api/contract/notices.ts'
import { pairEndpoints } from '../api/contract/pair.ts'
import { type StoredPairSettings, setupEndpoints } from '../api/contract/setup.ts'
import { type Client, openClient, type TargetOptions, withTarget } from './client.ts'
import {
  changed,
  describeSettings,
  type SettingOptions,
  withSettings,
} from './failover-settings.ts'
import { followOperation, followSwitchover } from './follow.ts'

type Common = TargetOptions & { json: boolean }

const addressLooks = 3
const addressLookMs = 1000
const promotionLooks = 120
const promotionLookMs = 250

const print = (text: string) => void process.stdout.write(`${text}\n`)
/** Progress goes beside the answer. */
const say = (text: string) => void process.stderr.write(`${text}\n`)

export function failoverCommand(): Command {
  return new Command('failover')
    .description('set a pair up, and operate it')
    .addCommand(enableCommand())
    .addCommand(setCommand())
    .addCommand(settingsCommand())
    .addCommand(statusCommand())
    .addCommand(switchoverCommand())
    .addCommand(promoteCommand())
    .addCommand(pauseCommand())
    .addCommand(resumeCommand())
    .addCommand(leftBehindCommand())
    .addCommand(drillCommand())
    .addCommand(historyCommand())
}

function command(name: string, description: string): Command {
  return withTarget(new Command(name).description(description)).option(
    '--json',
    'one line of JSON on standard output',
    false,
  )
}

function enableCommand(): Command {
  return withSettings(
    command('enable', 'set what a pair needs, and print the line for the second machine').option(
      '--replicated',
      'only if each server has a database of its own',
      false,
    ),
  ).action(
    async ({ replicated, ...options }: Common & SettingOptions & { replicated: boolean }) => {
      const client = openClient(options)
      if (replicated) await demandReplicated(client)
      const stored = await change(client, options)
      if (stored.settings.secondary === null) {
        throw new Error(
          '--secondary: is missing; name the second machine as the first one reaches it',
        )
      }
      const { line, expires } = await client.call(setupEndpoints.createJoinToken, { body: {} })
      if (options.json) return print(JSON.stringify({ ...stored, line, expires }))
      say(`Failover is enabled:\n${describeSettings(stored.settings)}\n`)
      say(`Run this on ${stored.settings.secondary}, once and before ${local(expires)}:\n`)
      print(line)
    },
  )
}

/** What the first server was made with decides. @throws Error that says how it would be */
async function demandReplicated(client: Client) {
  const { replication, self } = await client.call(pairEndpoints.getPair)
  if (replication !== null) return
  throw new Error(
    `--replicated: ${self} was made with a database that both servers share; leave the option out, or make the first server with keepwatch init without --database`,
  )
}

function setCommand(): Command {
  return withSettings(command('set', 'change one thing of the pair’s settings, or several')).action(
    async (options: Common & SettingOptions) => {
      const client = openClient(options)
      const stored = await change(client, options)
      if (options.json) return print(JSON.stringify(stored))
      print(describeSettings(stored.settings))
      const moves = ['virtualIp', 'virtualName'].some(name => name in options)
      if (moves) await lookForAddress(client)
    },
  )
}

/** What is wrong with an address is known soon after it was set; it stays set all the same. */
async function lookForAddress(client: Client) {
  for (let look = 0; look < addressLooks; look++) {
    await sleep(addressLookMs)
    const { address } = await client.call(pairEndpoints.getPair)
    if (address.fault === null) continue
    return say(`It does not work yet: ${address.fault}. \`keepwatch doctor\` says more.`)
  }
}

async function change(client: Client, options: SettingOptions): Promise<StoredPairSettings> {
  const before = await client.call(setupEndpoints.getPairSettings)
  const { settings, secrets } = changed(before.settings, options)
  const same = JSON.stringify(settings) === JSON.stringify(before.settings)
  if (same && Object.keys(secrets).length === 0 && before.version > 0) return before
  return client.call(setupEndpoints.changePairSettings, {
    body: { settings, secrets, version: before.version },
  })
}

function settingsCommand(): Command {
  return command('settings', 'show what is set for the pair').action(async (options: Common) => {
    const stored = await openClient(options).call(setupEndpoints.getPairSettings)
    if (options.json) return print(JSON.stringify(stored))
    print(describeSettings(stored.settings))
    const secrets = Object.entries(stored.secrets).flatMap(([name, is]) => (is ? [name] : []))
    print(`  Secrets        ${secrets.join(', ') || 'none'}`)
    if (stored.changedAt !== null) {
      print(`  Changed        ${local(stored.changedAt)} by ${stored.changedBy}`)
    }
  })
}

function statusCommand(): Command {
  return command('status', 'the pair as one of its servers sees it').action(
    async (options: Common) => {
      const client = openClient(options)
      const pair = await client.call(pairEndpoints.getPair)
      if (pair.active === null) process.exitCode = 1
      if (options.json) return print(JSON.stringify(pair))
      const { conditions } = await client.call(noticeEndpoints.listConditions)
      const wrong = conditions.map(({ text }) => `  WRONG  ${text}`)
      print([describePair(pair), ...wrong, ...(await unseenOf(client, pair))].join('\n'))
    },
  )
}

function describeTelemetry({ copying, error, lacks, server }: Pair['telemetry'][number]): string[] {
  if (error !== null) return [`  Telemetry: what ${server} lacks could not be copied: ${error}`]
  if (lacks === null || lacks.length === 0) return []
  const kinds = lacks.map(({ kind, rows, to }) => `${rows} rows of ${kind} up to ${local(to)}`)
  return [`  Telemetry: ${server} lacks ${kinds.join(', ')}${copying ? '; it copies them' : ''}`]
}

/** Nothing while the database is away: the rest is to be seen all the same. */
async function unseenOf(client: Client, { replication }: Pair): Promise<string[]> {
  if (replication === null) return []
  const query = { limit: '20' }
  const { leftBehind } = await client
    .call(pairEndpoints.listLeftBehind, { query })
    .catch(() => ({ leftBehind: [] }))
  return leftBehind
    .filter(({ seenAt }) => seenAt === null)
    .map(
      ({ changeCount, server, unread }) =>
        `  LEFT BEHIND by ${server}: ${unread === null ? `${changeCount} changes` : 'its database'}; \`keepwatch failover left-behind\` lists them`,
    )
}

function describePair(pair: Pair): string {
  const { heartbeat, database, paused, address, replication } = pair
  const latency = database.latencyMs === null ? '' : ` in ${database.latencyMs.toFixed(0)} ms`
  const lines = [
    pair.active === null
      ? 'Nobody is active.'
      : `${pair.active} is active in term ${pair.term} since ${local(pair.since)}.`,
    ...pair.servers.map(
      ({ name, role, version, console }) => `  ${name}: ${role}, version ${version}, ${console}`,
    ),
    `  ${pair.self} says: ${pair.sentence}`,
    `  Heartbeat ${heartbeat.counter}, ${heartbeat.ageMs === null ? 'none seen yet' : `${heartbeat.ageMs.toFixed(0)} ms ago`}`,
    `  Database ${database.reachable ? `answers${latency}` : 'does not answer'}`,
  ]
  if (replication !== null) {
    const { changes, copied, doing, follower, voters, votersMean } = replication
    lines.push(
      `  Voters ${voters.map(({ name, present }) => (present ? name : `${name} (not heard)`)).join(', ') || 'unknown'}: ${votersMean}`,
    )
    if (changes !== null) {
      const behind = follower === null ? '' : ` (${follower.behindBytes} bytes behind)`
      lines.push(`  Changes: ${changes}${behind}`)
    }
    if (doing === 'copies') {
      const part = copied?.totalBytes
        ? `: ${megabytes(copied.bytes)} of ${megabytes(copied.totalBytes)} MB, ${megabytes(copied.bytesPerSecond)} MB/s`
        : ''
      lines.push(`  ${pair.self} copies the database${part}`)
    }
  }
  lines.push(...pair.telemetry.flatMap(describeTelemetry))
  if (address.what.length > 0) {
    lines.push(
      `  Address ${address.what.join(', ')}${address.held ? `, held by ${pair.self}` : ''}`,
    )
  }
  if (address.fault !== null) lines.push(`  ${address.fault}`)
  if (paused) {
    const until = paused.until === null ? 'until somebody resumes' : `until ${local(paused.until)}`
    lines.push(`  Takeovers are paused by ${paused.by} (${paused.reason}), ${until}`)
  }
  return lines.join('\n')
}

function switchoverCommand(): Command {
  return command('switchover', 'hand over to the standby, planned, and wait for it').action(
    async (options: Common) => {
      const client = openClient(options)
      const before = await client.call(pairEndpoints.getPair)
      await client.call(pairEndpoints.switchOver, { body: {} })
      say(`${before.active} hands over.`)
      const after = await followSwitchover(client, before)
      print(
        options.json ? JSON.stringify(after) : `${after.active} is active in term ${after.term}.`,
      )
    },
  )
}

function promoteCommand(): Command {
  return command(
    'promote',
    'make this standby active by hand, where no majority can: when the other server is gone for good',
  )
    .option('--yes', 'the risk is known', false)
    .action(async (options: Common & { yes: boolean }) => {
      const client = openClient(options)
      const before = await client.call(pairEndpoints.getPair)
      if (!options.yes) throw new Error(riskOf(before))
      await client.call(pairEndpoints.promotePair, { body: {} })
      say(`${before.self} takes over.`)
      const after = await followPromotion(client, before.self)
      print(
        options.json ? JSON.stringify(after) : `${after.active} is active in term ${after.term}.`,
      )
    })
}

type Pair = z.output<typeof pairEndpoints.getPair.response>

function riskOf({ replication, self, sentence }: Pair): string {
  const others = replication?.voters.map(
    ({ name, present }) => `${name} ${present ? 'is there' : 'is not heard'}`,
  )
  return [
    'nothing was done, because this can lose changes:',
    `  - ${self} says: ${sentence}`,
    `  - Voters: ${others?.join(', ') || 'unknown'}.`,
    '  - If the other server still works where this one does not see it, there are two active ones, with',
    '    changes that do not come together: those made there are lost when they meet again.',
    `  - Changes that were acknowledged while ${self} was away are not here.`,
    ...(replication?.doing === 'copies'
      ? [`  - ${self} was copying the other’s database: it leads with what it had before.`]
      : []),
    'Make sure that the other server is off, then say it again with --yes.',
  ].join('\n')
}

async function followPromotion(client: Client, self: string): Promise<Pair> {
  for (let look = 0; look < promotionLooks; look++) {
    const pair = await client.call(pairEndpoints.getPair)
    if (pair.active === self && pair.role === 'active') return pair
    await sleep(promotionLookMs)
  }
  throw new Error(`${self} is not active yet; \`keepwatch failover status\` says why`)
}

function pauseCommand(): Command {
  return command('pause', 'maintenance: nobody takes over until it is resumed')
    .requiredOption('--reason <text>', 'why, for the others')
    .option('--for <duration>', 'resume by itself after 30m, 2h, 1d')
    .action(async (options: Common & { reason: string; for?: string }) => {
      const until =
        options.for === undefined ? null : new Date(Date.now() + durationMs(options.for))
      await openClient(options).call(pairEndpoints.pausePair, {
        body: { reason: options.reason, until: until?.toISOString() ?? null },
      })
      const end = until === null ? 'until `keepwatch failover resume`' : `until ${local(until)}`
      print(options.json ? JSON.stringify({ paused: true, until }) : `Nobody takes over, ${end}.`)
    })
}

function resumeCommand(): Command {
  return command('resume', 'takeovers are possible again').action(async (options: Common) => {
    await openClient(options).call(pairEndpoints.resumePair, { body: {} })
    print(options.json ? JSON.stringify({ paused: false }) : 'Takeovers are possible again.')
  })
}

function leftBehindCommand(): Command {
  return command('left-behind', 'changes that a server had made and the one after it lacked')
    .option('--seen <number>', 'somebody has looked at it: its alarm ends')
    .action(async (options: Common & { seen?: string }) => {
      const client = openClient(options)
      if (options.seen !== undefined) {
        const id = options.seen
        if (!/^\d+$/.test(id)) throw new Error('--seen: must be a number of the list')
        const seen = await client.call(pairEndpoints.seeLeftBehind, { params: { id }, body: {} })
        return print(options.json ? JSON.stringify(seen) : `${id} was seen by ${seen.seenBy}.`)
      }
      const { leftBehind } = await client.call(pairEndpoints.listLeftBehind, {
        query: { limit: '100' },
      })
      if (options.json) return print(JSON.stringify(leftBehind))
      for (const left of leftBehind) print(describeLeft(left))
      if (leftBehind.length === 0) print('Nothing was left behind so far.')
    })
}

function describeLeft(
  left: z.output<typeof pairEndpoints.listLeftBehind.response>['leftBehind'][number],
): string {
  const { changeCount, changes, found, id, kept, seenBy, server, unread } = left
  const seen = seenBy === null ? 'not seen yet' : `seen by ${seenBy}`
  const what = unread === null ? `${changeCount} changes` : `its database, unread: ${unread}`
  return [
    `${id}  ${local(found)}  ${server}: ${what} (${seen}), kept there in ${kept}`,
    ...changes.map(
      ({ action, at, subject, who }) => `     ${local(at)}  ${who}: ${action} ${subject}`,
    ),
    ...(changeCount > changes.length ? [`     and ${changeCount - changes.length} more`] : []),
  ].join('\n')
}

function drillCommand(): Command {
  return command('drill', 'a switchover there and back, with a report').action(
    async (options: Common) => {
      const client = openClient(options)
      const { id } = await client.call(pairEndpoints.startDrill, { body: {} })
      const drill = await followOperation(client, id, say)
      if (!drill.ok) process.exitCode = 1
      if (options.json) return print(JSON.stringify(drill))
      const { thereMs, backMs, failure } = (drill.report ?? {}) as Record<string, unknown>
      const seconds = (ms: unknown) => `${(Number(ms) / 1000).toFixed(2)} s`
      print(
        drill.ok
          ? `The drill went well: there in ${seconds(thereMs)}, back in ${seconds(backMs)}.`
          : `The drill failed: ${failure ?? drill.steps.at(-1)?.text ?? 'no reason was given'}`,
      )
    },
  )
}

function historyCommand(): Command {
  return command('history', 'every change of role, newest first')
    .option('--limit <count>', 'how many', '20')
    .action(async (options: Common & { limit: string }) => {
      const { changes } = await openClient(options).call(pairEndpoints.listRoleChanges, {
        query: { limit: options.limit },
      })
      if (options.json) return print(JSON.stringify(changes))
      for (const { at, server, role, term, sentence } of changes) {
        print(`${local(at)}  ${server} ${role} in term ${term}: ${sentence}`)
      }
      if (changes.length === 0) print('No server has changed its role yet.')
    })
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)
}

const units: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

export function durationMs(text: string): number {
  const parts = /^(\d{1,5})([smhd])$/.exec(text)
  if (!parts) throw new Error(`--for ${text}: must look like 30m, 2h or 1d`)
  return Number(parts[1]) * units[parts[2]!]!
}

/** In the time zone of this machine: 2026-11-22 02:45:07 +0100. */
function local(moment: string | Date): string {
  const date = new Date(moment)
  const minutes = -date.getTimezoneOffset()
  const shifted = new Date(date.getTime() + minutes * 60_000).toISOString()
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0')
  const zone = `${minutes < 0 ? '-' : '+'}${two(Math.abs(minutes) / 60)}${two(Math.abs(minutes) % 60)}`
  return `${shifted.slice(0, 10)} ${shifted.slice(11, 19)} ${zone}`
}
