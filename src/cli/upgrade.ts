/** `keepwatch upgrade`: both servers of a pair change to another version, one after the other. */
import { resolve } from 'node:path'
import { Command } from 'commander'
import type { z } from 'zod'
import { type operation, pairEndpoints } from '../api/contract/pair.ts'
import type { Home } from '../apps/upgrade/home.ts'
import { obstacleBetween } from '../lib/version.ts'
import { type Client, openClient, type TargetOptions, withTarget } from './client.ts'
import { describeStep, followOperation } from './follow.ts'
import { withHome } from './install.ts'

type Operation = z.output<typeof operation>
type Options = TargetOptions & { json: boolean; home: string; status: boolean; prune: boolean }

/** A version on trial may take so long until it is ready, or given up; twice if it is killed. */
const restartMs = 600_000

const print = (text: string) => void process.stdout.write(`${text}\n`)
/** Progress goes beside the answer. */
const say = (text: string) => void process.stderr.write(`${text}\n`)

export function upgradeCommand(): Command {
  return withHome(
    withTarget(
      new Command('upgrade')
        .description('install a version on this server, and change both servers of the pair to it')
        .argument(
          '[source]',
          'folder, keepwatch-x.y.z.tgz or keepwatch@x.y.z (default: what runs this command)',
        ),
    ).option('--json', 'one line of JSON on standard output', false),
  )
    .option('--status', 'show the last upgrade, and what each server runs', false)
    .option('--prune', 'remove versions other than the current and the previous one', false)
    .action(async (source: string | undefined, options: Options) => {
      const { openHome } = await import('../apps/upgrade/home.ts')
      const home = openHome(resolve(options.home))
      if (options.prune) return prune(home, options.json)
      const client = openClient(options)
      return options.status ? status(client, options.json) : upgrade(client, home, source, options)
    })
}

async function upgrade(client: Client, home: Home, source: string | undefined, options: Options) {
  const { installVersion } = await import('../apps/upgrade/install.ts')
  const { self, servers } = await client.call(pairEndpoints.getPair)
  const runs = servers.find(({ name }) => name === self)?.version
  if (home.current() !== runs) {
    throw new Error(
      `${self} runs version ${runs}, and ${home.path} has ${home.current() ?? 'nothing'}: ` +
        'name the folder from which it runs with --home',
    )
  }
  const version = await installVersion(home, source, say, wanted => {
    for (const one of servers) {
      const obstacle = obstacleBetween(one.version, wanted)
      if (obstacle !== undefined) throw new Error(`${one.name} cannot be upgraded: ${obstacle}`)
    }
  })
  const { id } = await client.call(pairEndpoints.startUpgrade, { body: { version, holder: self } })
  const ended = await followOperation(client, id, say, restartMs)
  if (!ended.ok) process.exitCode = 1
  print(options.json ? JSON.stringify(ended) : outcome(ended))
}

function outcome({ ok, steps, report }: Operation): string {
  const { version, failure } = (report ?? {}) as Record<string, unknown>
  if (ok === null) return `The upgrade to ${version} is under way.`
  if (ok) return `The pair runs version ${version}.`
  const reason = failure ?? steps.at(-1)?.text ?? 'no reason was given'
  return `The upgrade to ${version} failed: ${reason}`
}

async function status(client: Client, json: boolean) {
  const { servers } = await client.call(pairEndpoints.getPair)
  const { operations } = await client.call(pairEndpoints.listOperations, {
    query: { limit: '200' },
  })
  const last = operations.find(({ kind }) => kind === 'upgrade') ?? null
  const versions = servers.map(({ name, role, version }) => ({ name, role, version }))
  if (last?.ok === false) process.exitCode = 1
  if (json) return print(JSON.stringify({ servers: versions, last }))
  for (const { name, role, version } of versions) print(`${name}: ${role}, version ${version}`)
  if (last === null) return print('There has been no upgrade yet.')
  for (const step of last.steps) print(describeStep(step))
  print(outcome(last))
}

function prune(home: Home, json: boolean) {
  const removed = home.prune()
  const kept = home.installed()
  if (json) return print(JSON.stringify({ removed, kept }))
  print(`Removed ${removed.join(', ') || 'nothing'}; kept ${kept.join(', ') || 'nothing'}.`)
}
