/**
 * The check of a shared folder before it is used, and whenever a person wants to know: each server
 * looks at its own mount, and each reads back what the other wrote. In a process of its own, with a
 * deadline: the folder may hang.
 */
import { createHash, randomBytes, randomUUID, X509Certificate } from 'node:crypto'
import { z } from 'zod'
import type { Identity } from '../../lib/tls.ts'
import { createLinkClient } from '../files/link-client.ts'
import { answering, type Route, RouteRefusal, readBody, sendJson } from '../files/route.ts'
import type { PeerAddress } from '../peer.ts'
import { type Finding, failure, type Outcome, pass } from '../preflight/finding.ts'
import { describeFault, FolderUnusable } from './fault.ts'
import { type FolderChild, startFolderChild } from './folder-child.ts'
import {
  judgeClock,
  judgeExercise,
  judgeGit,
  judgeMount,
  judgeOwner,
  judgeSpace,
  judgeThere,
} from './judge.ts'
import type { Exercise, Inspection } from './protocol.ts'

const folderCheckPath = '/link/v1/folder/check'

/** The other server, asked to look into its mount of the folder. */
export interface OtherFolder {
  name: string
  /** Reads the file of that name, writes one of its own, and says what it saw. */
  exchange(question: ExchangeQuestion): Promise<ExchangeAnswer>
}

const name = z.string().regex(/^\.keepwatch-check-[0-9a-f-]{36}-[a-z0-9-]{1,16}$/)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)

const exchangeQuestion = z.object({
  path: z.string().regex(/^\/./).max(4096),
  /** To be read. */
  read: name,
  /** To be written, and removed by who asked. */
  write: name,
})
export type ExchangeQuestion = z.output<typeof exchangeQuestion>

const exchangeAnswer = z.object({
  server: z.string().max(255),
  /** Of what it read, or why it could not. */
  read: z.union([z.object({ sha256 }), z.object({ error: z.string().max(1000) })]),
  wrote: z.union([z.object({ sha256 }), z.object({ error: z.string().max(1000) })]),
})
export type ExchangeAnswer = z.output<typeof exchangeAnswer>

export interface FolderCheckConfig {
  server: string
  /** As in the shared folder's marker. */
  deployment: string
  dataDir: string
}

/** All of it; a folder that takes longer is of no use. */
const checkMs = 15_000
const maxQuestionBytes = 16 * 1024

/**
 * Findings, of this server's mount and, where the other is there to be asked, of both.
 *
 * @param other undefined: each server checks its own mount only
 */
export async function checkFolder(
  path: string,
  config: FolderCheckConfig,
  other?: OtherFolder,
): Promise<Finding[]> {
  const findings: Finding[] = []
  const find = (id: string, title: string, outcome: Outcome) =>
    findings.push({ id: `folder-${id}`, title, ...outcome })
  const unusable = (error: unknown) => {
    const { kind, message } = error as FolderUnusable
    const known = kind === 'hung' || kind === 'full' || kind === 'read-only' || kind === 'forbidden'
    const text = known ? describeFault(kind, path, '').text : `${path}: ${message}`
    return failure(text, 'see docs/operation/shared-folder.md')
  }
  await inFolder(path, config, async child => {
    let seen: Inspection
    try {
      const ask = { path, dataDir: config.dataDir, git: true }
      seen = await child.request('inspect', ask, checkMs)
    } catch (error) {
      find('there', 'Shared folder can be reached', unusable(error))
      return
    }
    find('there', 'Shared folder can be reached', judgeThere(path, seen))
    if (!seen.folder) return
    find('mount', 'Shared folder is on another machine', judgeMount(path, seen))
    find('ours', 'Shared folder is empty or ours', judgeOwner(path, seen, config.deployment))
    find('space', 'Shared folder has room', judgeSpace(seen))
    find('git', 'Configuration mirror can be written', judgeGit(seen))
    const check = randomUUID()
    const own = `.keepwatch-check-${check}-${config.server}`
    const others = `.keepwatch-check-${check}-x-other`
    try {
      const ask = { path, name: own, bytes: randomBytes(64 * 1024) }
      const exercise = await child.request('exercise', ask, checkMs)
      find('write', 'Shared folder can be written', judgeExercise(exercise))
      find('clock', 'Clock of the file server', judgeClock(exercise))
      if (other === undefined) return
      const asked = { path, read: own, write: others }
      const answer = await other.exchange(asked).catch((error: Error) => error)
      const back = () => child.request('readCheck', { path, name: others }, checkMs)
      find(
        'both',
        'Each server reads what the other wrote',
        await judgeExchange(path, other.name, exercise, answer, back),
      )
    } catch (error) {
      find('write', 'Shared folder can be written', unusable(error))
    } finally {
      for (const left of [own, others]) {
        await child.request('removeCheck', { path, name: left }, checkMs).catch(() => {})
      }
    }
  })
  return findings
}

/**
 * Makes an empty folder this deployment's.
 *
 * @returns `ours` if it was already
 * @throws FolderUnusable with a sentence if it cannot be
 */
export function prepareFolder(
  path: string,
  config: FolderCheckConfig,
): Promise<'prepared' | 'ours'> {
  return inFolder(path, config, async child => {
    const ask = { path, dataDir: config.dataDir, git: false }
    const seen = await child.request('inspect', ask, checkMs)
    for (const judged of [judgeThere(path, seen), judgeOwner(path, seen, config.deployment)]) {
      if (judged.result === 'failure') throw new Error(`${judged.text}: ${judged.whatToDo}`)
    }
    return child.request('prepare', { path, deployment: config.deployment }, checkMs)
  })
}

/** What the other server asks of this one. */
export function folderRoute(config: FolderCheckConfig): Route {
  return {
    method: 'POST',
    prefix: folderCheckPath,
    role: 'server',
    answer: (request, response) =>
      answering(response, async () => {
        const text = (await readBody(request, maxQuestionBytes)).toString('utf8')
        const question = exchangeQuestion.safeParse(parseJson(text))
        if (!question.success) throw new RouteRefusal(400, question.error.message)
        const { path, read, write } = question.data
        const answer = await inFolder(path, config, async (child): Promise<ExchangeAnswer> => {
          const attempt = <T>(asking: Promise<T>) =>
            asking.catch((error: Error) => ({ error: error.message.slice(0, 1000) }))
          const bytes = randomBytes(64 * 1024)
          const was = await attempt(child.request('readCheck', { path, name: read }, checkMs))
          const wrote = await attempt(
            child.request('exercise', { path, name: write, bytes }, checkMs),
          )
          return {
            server: config.server,
            read: was,
            wrote: 'error' in wrote ? wrote : { sha256: wrote.sha256 },
          }
        })
        sendJson(response, 200, answer)
      }),
  }
}

/** The other server over the link. */
export function otherFolder(deps: { identity: Identity }, peer: PeerAddress): OtherFolder {
  return {
    name: peer.name,
    async exchange(question) {
      const client = createLinkClient(deps)
      try {
        const { body } = await client.ask(peer, {
          method: 'POST',
          path: folderCheckPath,
          body: Buffer.from(JSON.stringify(question)),
          withinMs: 2 * checkMs,
        })
        return exchangeAnswer.parse(JSON.parse(body.toString('utf8')))
      } finally {
        client.close()
      }
    },
  }
}

/** A process for the time of the work; one that hangs is left behind. */
async function inFolder<T>(
  path: string,
  { server, deployment }: FolderCheckConfig,
  work: (child: FolderChild) => Promise<T>,
): Promise<T> {
  const late = () => child.end(new FolderUnusable('hung', 'it does not answer'))
  const child = startFolderChild(
    { spool() {}, fault() {}, ended() {}, hung: late },
    { path, deployment, server, incarnation: 'check' },
  )
  try {
    return await work(child)
  } finally {
    child.end(new FolderUnusable('off', 'the check is over'))
  }
}

async function judgeExchange(
  path: string,
  other: string,
  exercise: Exercise,
  answer: ExchangeAnswer | Error,
  readBack: () => Promise<{ sha256: string }>,
): Promise<Outcome> {
  const mount = `mount the same folder at ${path} on both servers, writable`
  if (answer instanceof Error) {
    return failure(`${other} could not be asked: ${answer.message}`, `start ${other}`)
  }
  if ('error' in answer.read) {
    return failure(`${other} does not see what was written here: ${answer.read.error}`, mount)
  }
  if (answer.read.sha256 !== exercise.sha256) {
    return failure(`${other} reads something else than was written here`, mount)
  }
  if ('error' in answer.wrote) {
    return failure(`${other} cannot write there: ${answer.wrote.error}`, mount)
  }
  const back = await readBack().catch((error: Error) => error)
  if (back instanceof Error) {
    return failure(`what ${other} wrote is not seen here: ${back.message}`, mount)
  }
  return back.sha256 === answer.wrote.sha256
    ? pass(`this server and ${other} read what the other wrote`)
    : failure(`what ${other} wrote is read differently here`, mount)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What tells a deployment from others: the key of its private authority, which both servers know. */
export function deploymentOf(identity: Pick<Identity, 'ca'>): string {
  const key = new X509Certificate(identity.ca).publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(key).digest('hex').slice(0, 32)
}
