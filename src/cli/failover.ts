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
    .addCommand(pauseCommand())
    .addCommand(resumeCommand())
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
    command('enable', 'set what a pair needs, and print the line for the second machine'),
  ).action(async (options: Common & SettingOptions) => {
    const client = openClient(options)
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
  })
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
      print([describePair(pair), ...conditions.map(({ text }) => `  WRONG  ${text}`)].join('\n'))
    },
  )
}

function describePair(pair: z.output<typeof pairEndpoints.getPair.response>): string {
  const { heartbeat, database, paused, address } = pair
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
