/**
 * The database of one server of a replicated pair: it leads, and the other follows, or the other way
 * round. Whose turn it is others decide; what a change waits for, `acknowledging.ts` does.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../../lib/clock.ts'
import type { Log } from '../../../lib/log.ts'
import { createEmbeddedPostgres } from '../embedded.ts'
import type { BackupProgress } from './base-backup.ts'
import { createLeaving } from './leaving.ts'
import { transactionsLacking } from './left-behind.ts'
import {
  acknowledgeWith,
  beginToFollow,
  clusterIn,
  copyCluster,
  type FollowerState,
  followersOf,
  followFrom,
  isBehind,
  isFollower,
  isLeftBehind,
  isStreaming,
  openSession,
  placeOf,
  promote,
  type Session,
  standStill,
} from './replica.ts'

/** Decides whose disk a change waits for; asked again and again while the database leads. */
export interface Acknowledgement {
  /** A term begins. Resolves when changes may be taken: when the voters know that only this server has them. */
  begin(term: number): Promise<void>
  /** @returns whose disk changes are to wait for from now on, if that is to change */
  look(
    follower: { name: string; flushed: number; written: number; synchronous: boolean } | undefined,
  ): { follower: string | undefined } | undefined
}

export interface ReplicatedDatabase {
  /** Goes on following, if it did; what led when it was left waits until it is known who leads now. */
  start(): Promise<void>
  stop(): Promise<void>
  /**
   * Takes writes when it resolves. A cluster is made if there is none, where it may be.
   * @throws Error if it cannot be promoted in time, or there is none
   */
  lead(term: number): Promise<void>
  /**
   * Leads no more, and has nothing that the one who follows has not, if that one hears it to the end: so
   * that this one can follow then from where it is.
   */
  rest(): Promise<void>
  /** Whose disk changes wait for from now on; undefined: nobody's. The last that was said counts. */
  acknowledge(follower: string | undefined): void
  /**
   * Follows the other server: goes on if it did; from where it is if it led, and the other has all of
   * it; else copies that one anew, again until that succeeds. What it had stays until the copy is whole;
   * what the other lacks of it is kept. @throws the reason of the signal
   */
  follow(signal: AbortSignal): Promise<void>
  /**
   * Whether what it follows has thrown away what it lacks: the next `follow` copies it.
   * @throws Error if that does not answer
   */
  lookBehind(): Promise<boolean>
  state(): {
    /** There is one: it may be led. */
    there: boolean
    doing: 'nothing' | 'leads' | 'follows' | 'copies'
    /** How far the other is, while it follows this one. */
    follower: FollowerState | undefined
    /** How far the copy is. */
    copied: BackupProgress | undefined
    /** Why the last attempt to copy failed. */
    lastError: string | undefined
  }
  /** Of this server's own, while it runs. */
  readonly url: string | undefined
}

/** Of both servers. */
const maxConnections = 80
const lookMs = 250
/** One that lacks something and gets no further for so long is not there, whatever its connection says. */
const stuckMs = 1000
const retryMs = 1000
/** Until one that led follows, or it is known that it cannot. */
const followMs = 15_000
const standingMs = 100
const stillMs = 500

export function createReplicatedDatabase(
  deps: { clock: Clock; log: Log; acknowledgement: Acknowledgement },
  config: {
    dataDir: string
    /** Where is kept what the other lacks. */
    leftBehind: string
    port: number
    /** Names of this server and of the other. */
    self: string
    /** Undefined: there is none yet. */
    other(): string | undefined
    /** The other's database as it is reached from here, with the password that both have. */
    upstream(): string
    /** Of its role, where it is made. */
    password?: string
    /** What the other lacks is kept up to so much; one that lacks more copies everything anew. */
    keepMegabytes: number
    /** It is the first of a deployment: there is nothing to be copied. */
    mayCreate(): boolean
  },
): ReplicatedDatabase {
  const { acknowledgement, log } = deps
  const { dataDir, password, port, self } = config
  const postgres = createEmbeddedPostgres(
    { log },
    {
      ...{ dataDir, port, maxConnections },
      settings: { max_slot_wal_keep_size: `${config.keepMegabytes}MB` },
      ...(password === undefined ? {} : { password }),
    },
  )
  const upstream = () => ({ url: config.upstream(), follower: self })
  const leaving = createLeaving(deps, {
    ...{ dataDir, folder: config.leftBehind, self, active: config.upstream },
  })
  let there = false
  let leftBehind = false
  let doing: ReturnType<ReplicatedDatabase['state']>['doing'] = 'nothing'
  let copied: BackupProgress | undefined
  let lastError: string | undefined
  let followed: FollowerState | undefined
  let url: string | undefined
  let leading: { ended: AbortController; watching: Promise<void> } | undefined
  /** Whose disk changes are to wait for, until the database has taken it. */
  let wanted: { follower: string | undefined } | undefined
  /** Ends the rest between two looks. */
  let hurry = new AbortController()

  async function open() {
    await postgres.start()
    url = postgres.url
    there = true
  }

  async function close() {
    url = undefined
    await postgres.stop()
  }

  async function copy(signal: AbortSignal) {
    copied = undefined
    const onProgress = (progress: BackupProgress) => {
      copied = progress
    }
    await copyCluster(upstream(), { dataDir, signal, onProgress })
  }

  /** What led until now follows from where it is. @returns false if it cannot: it is to be copied */
  async function goOn(signal: AbortSignal): Promise<boolean> {
    if (!(await leaving.isPending())) return false
    await leaving.begin()
    await standStill(dataDir)
    try {
      await open()
    } catch (error) {
      if (!leaving.failed()) throw error
      await leaving.putAside((error as Error).message)
      there = false
      return false
    }
    if (await comesToFollow(signal)) return true
    const kept = await leaving.keep(postgres.url)
    await close()
    if (!kept) {
      await leaving.putAside('it is the database of another deployment')
      there = false
    }
    return false
  }

  async function comesToFollow(signal: AbortSignal): Promise<boolean> {
    const its = await openSession(postgres.url)
    let primary: Session | undefined
    try {
      primary = await openSession(config.upstream())
      await untilStill(its, signal)
      if (!(await isBehind(its, primary))) return false
      if ((await transactionsLacking(its.query, primary.query)).size > 0) return false
      await beginToFollow(upstream(), its, dataDir)
      const deadline = deps.clock.monotonic() + followMs
      while (deps.clock.monotonic() < deadline) {
        signal.throwIfAborted()
        if (await isStreaming(its, primary)) return true
        await sleep(standingMs, undefined, { signal }).catch(() => {})
      }
      return false
    } finally {
      await its.end()
      await primary?.end()
    }
  }

  /** Until it has come to the end of what it has. */
  async function untilStill(its: Session, signal: AbortSignal) {
    for (let last: string | null = ''; ; ) {
      const place = await placeOf(its)
      if (place === last) return
      last = place
      await sleep(stillMs, undefined, { signal }).catch(() => {})
      signal.throwIfAborted()
    }
  }

  async function endLeading() {
    leading?.ended.abort()
    await leading?.watching
    leading = undefined
    followed = undefined
  }

  /** One setting after the other, so that none of before can come after it. */
  async function settle(its: Session) {
    while (wanted !== undefined) {
      const now = wanted
      await acknowledgeWith(its, now.follower)
      if (wanted === now) wanted = undefined
    }
  }

  /** How far the other is, and whether changes wait for it, as long as this one leads. */
  async function watch(began: Session, ended: AbortSignal) {
    let its: Session | undefined = began
    let progress = { flushed: -1, at: deps.clock.monotonic() }
    while (!ended.aborted) {
      hurry = new AbortController()
      let rest = AbortSignal.any([ended, hurry.signal])
      try {
        its ??= await openSession(postgres.url)
        const other = config.other()
        const follower = (await followersOf(its)).find(each => each.follower === other)
        followed = follower
        const now = deps.clock.monotonic()
        const { flushed = -1, written = -1 } = follower ?? {}
        if (flushed !== progress.flushed || flushed >= written) progress = { flushed, at: now }
        const getsOn = now - progress.at < stuckMs
        const streaming = follower?.state === 'streaming' && getsOn ? follower : undefined
        wanted = acknowledgement.look(streaming && { ...streaming, name: other! }) ?? wanted
        await settle(its)
      } catch (error) {
        rest = ended
        await its?.end()
        its = undefined
        log.warn({ error }, 'the database does not say who follows it')
      }
      await sleep(lookMs, undefined, { signal: rest }).catch(() => {})
    }
    await its?.end()
  }

  return {
    async start() {
      const holds = await clusterIn(dataDir)
      there = holds !== 'none'
      if (holds !== 'follows' || (await leaving.isPending())) return
      await followFrom(upstream(), dataDir)
      await open()
      doing = 'follows'
    },

    async stop() {
      await endLeading()
      await close()
      doing = 'nothing'
    },

    async lead(term) {
      await endLeading()
      if (!there && !config.mayCreate()) throw new Error('this server has no database yet')
      await leaving.forget()
      if (url === undefined) await open()
      const its = postgres.url
      const known = acknowledgement.begin(term)
      known.catch(() => {})
      if (await isFollower(its)) await promote(its)
      await known
      wanted = { follower: undefined }
      const session = await openSession(its)
      await settle(session)
      const ended = new AbortController()
      leading = { ended, watching: watch(session, ended.signal) }
      doing = 'leads'
    },

    async rest() {
      await endLeading()
      await close()
      doing = 'nothing'
    },

    acknowledge(follower) {
      wanted = { follower }
      hurry.abort()
    },

    async follow(signal) {
      await endLeading()
      if (doing === 'follows' && url !== undefined && !leftBehind) return
      doing = 'copies'
      await close()
      while (doing === 'copies') {
        signal.throwIfAborted()
        try {
          if (!(await goOn(signal))) {
            await copy(signal)
            await open()
          }
          await leaving.forget()
          doing = 'follows'
          leftBehind = false
          lastError = undefined
        } catch (error) {
          await close()
          signal.throwIfAborted()
          lastError = (error as Error).message
          log.warn({ error }, 'the other server’s database was not copied; it is tried again')
          await sleep(retryMs, undefined, { signal }).catch(() => {})
        }
      }
    },

    async lookBehind() {
      leftBehind = doing === 'follows' && (await isLeftBehind(upstream()))
      return leftBehind
    },

    state: () => ({ there, doing, follower: followed, copied, lastError }),
    get url() {
      return url
    },
  }
}
