/**
 * The database of one server of a replicated pair: it leads, and the other follows, or the other way
 * round. Whose turn it is others decide; what a change waits for, `acknowledging.ts` does.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../../lib/clock.ts'
import type { Log } from '../../../lib/log.ts'
import { createEmbeddedPostgres } from '../embedded.ts'
import type { BackupProgress } from './base-backup.ts'
import { acknowledgeWith, copyCluster, followersOf, isFollower, promote } from './replica.ts'

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
  /** As it was left; a cluster is made if there is none. */
  start(): Promise<void>
  stop(): Promise<void>
  /**
   * Takes writes when it resolves.
   * @throws Error if it cannot be promoted in time
   */
  lead(term: number): Promise<void>
  /** Whose disk changes wait for from now on; undefined: nobody's. The last that was said counts. */
  acknowledge(follower: string | undefined): void
  /**
   * Follows the other server: goes on if it did, else copies that one anew, again until that succeeds.
   * What it had stays until the copy is whole. @throws the reason of the signal
   */
  follow(signal: AbortSignal): Promise<void>
  state(): {
    doing: 'nothing' | 'leads' | 'follows' | 'copies'
    /** How far the copy is. */
    copied: BackupProgress | undefined
    /** Why the last attempt to copy failed. */
    lastError: string | undefined
  }
  /** Of this server's own, while it runs. */
  readonly url: string | undefined
}

const lookMs = 250
const retryMs = 1000

export function createReplicatedDatabase(
  deps: { clock: Clock; log: Log; acknowledgement: Acknowledgement },
  config: {
    dataDir: string
    port: number
    /** Names of this server and of the other. */
    self: string
    other: string
    /** The other's database as it is reached from here, with the password that both have. */
    upstream(): string
  },
): ReplicatedDatabase {
  const { acknowledgement, log } = deps
  const { dataDir, other, port, self } = config
  const postgres = createEmbeddedPostgres({ log }, { dataDir, port })
  let doing: ReturnType<ReplicatedDatabase['state']>['doing'] = 'nothing'
  let copied: BackupProgress | undefined
  let lastError: string | undefined
  let url: string | undefined
  let leading: { ended: AbortController; watching: Promise<void> } | undefined
  /** Whose disk changes are to wait for, until the database has taken it. */
  let wanted: { follower: string | undefined } | undefined
  /** Ends the rest between two looks. */
  let hurry = new AbortController()

  async function open() {
    await postgres.start()
    url = postgres.url
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
    const upstream = { url: config.upstream(), follower: self }
    await copyCluster(upstream, { dataDir, signal, onProgress })
  }

  async function endLeading() {
    leading?.ended.abort()
    await leading?.watching
    leading = undefined
  }

  /** One setting after the other, so that none of before can come after it. */
  async function settle(its: string) {
    while (wanted !== undefined) {
      const now = wanted
      await acknowledgeWith(its, now.follower)
      if (wanted === now) wanted = undefined
    }
  }

  /** How far the other is, and whether changes wait for it, as long as this one leads. */
  async function watch(its: string, ended: AbortSignal) {
    while (!ended.aborted) {
      hurry = new AbortController()
      let rest = AbortSignal.any([ended, hurry.signal])
      try {
        const follower = (await followersOf(its)).find(each => each.follower === other)
        const streaming = follower?.state === 'streaming' ? follower : undefined
        wanted = acknowledgement.look(streaming && { ...streaming, name: other }) ?? wanted
        await settle(its)
      } catch (error) {
        rest = ended
        log.warn({ error }, 'the database does not say who follows it')
      }
      await sleep(lookMs, undefined, { signal: rest }).catch(() => {})
    }
  }

  return {
    async start() {
      await open()
      doing = (await isFollower(postgres.url)) ? 'follows' : 'nothing'
    },

    async stop() {
      await endLeading()
      await close()
      doing = 'nothing'
    },

    async lead(term) {
      await endLeading()
      if (url === undefined) await open()
      const its = postgres.url
      const known = acknowledgement.begin(term)
      if (await isFollower(its)) await promote(its)
      await known
      wanted = { follower: undefined }
      await settle(its)
      const ended = new AbortController()
      leading = { ended, watching: watch(its, ended.signal) }
      doing = 'leads'
    },

    acknowledge(follower) {
      wanted = { follower }
      hurry.abort()
    },

    async follow(signal) {
      await endLeading()
      if (doing === 'follows' && url !== undefined) return
      doing = 'copies'
      await close()
      while (doing === 'copies') {
        signal.throwIfAborted()
        try {
          await copy(signal)
          await open()
          doing = 'follows'
          lastError = undefined
        } catch (error) {
          signal.throwIfAborted()
          lastError = (error as Error).message
          log.warn({ error }, 'the other server’s database was not copied; it is tried again')
          await sleep(retryMs, undefined, { signal }).catch(() => {})
        }
      }
    },

    state: () => ({ doing, copied, lastError }),
    get url() {
      return url
    },
  }
}
