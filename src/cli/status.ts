import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { z } from 'zod'
import { readPairFile } from '../apps/pair/pair-file.ts'

/** What `/active` of a server answers. */
const answer = z.object({
  server: z.string(),
  role: z.enum(['active', 'standby', 'stopped']),
  term: z.number(),
  since: z.string(),
  active: z.string().nullable(),
  activeConsole: z.string().nullable(),
  sentence: z.string(),
})

type Seen = { url: string } & (z.output<typeof answer> | { role: 'unreachable'; error: string })

const deadlineMs = 3000

/** `keepwatch status`: who is active, in which term, since when, and why. */
export function statusCommand(): Command {
  return new Command('status')
    .description('who is active, in which term, since when, and why')
    .option('--data <folder>', 'folder of a deployment on this machine', 'data')
    .option('--server <url...>', 'console addresses of the servers, instead of a folder')
    .option('--json', 'one line of JSON on standard output', false)
    .action(async (options: { data: string; server?: string[]; json: boolean }) => {
      const servers = await Promise.all(serversOf(options).map(ask))
      const active = servers.find(server => server.role === 'active')
      const summary = {
        active: active && 'server' in active ? active.server : null,
        term: active && 'term' in active ? active.term : null,
        since: active && 'since' in active ? active.since : null,
        sentence: active && 'sentence' in active ? active.sentence : 'nobody is active',
        servers,
      }
      process.stdout.write(options.json ? `${JSON.stringify(summary)}\n` : describe(summary))
      if (summary.active === null) process.exitCode = 1
    })
}

function serversOf({ data, server }: { data: string; server?: string[] }): string[] {
  if (server) return server.map(url => url.replace(/\/$/, ''))
  const pair = existsSync(data) ? readPairFile(data) : undefined
  if (!pair) {
    throw new Error(
      `there is no deployment in ${data}; name its folder with --data, or --server URL`,
    )
  }
  return pair.servers.map(({ url }) => url)
}

async function ask(url: string): Promise<Seen> {
  try {
    const response = await fetch(`${url}/active`, { signal: AbortSignal.timeout(deadlineMs) })
    return { url, ...answer.parse(await response.json()) }
  } catch (error) {
    const { message, cause } = error as Error & { cause?: { code?: string } }
    return { url, role: 'unreachable', error: cause?.code ?? message }
  }
}

function describe(summary: {
  active: string | null
  term: number | null
  since: string | null
  sentence: string
  servers: Seen[]
}): string {
  const lines = [
    summary.active === null
      ? 'Nobody is active.'
      : `${summary.active} is active in term ${summary.term} since ${summary.since}.`,
    ...summary.servers.map(server =>
      server.role === 'unreachable'
        ? `  ${server.url}  does not answer (${server.error})`
        : `  ${server.url}  ${server.server}: ${server.role}. ${server.sentence}`,
    ),
  ]
  return `${lines.join('\n')}\n`
}
