/**
 * A PostgreSQL that follows another: a copy of it, kept up to date by streaming replication, from which
 * one reads until it is promoted. The copy is a folder of an embedded PostgreSQL, which starts it as it
 * starts any other.
 */
import { lchown, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { chooseAccount } from '../account.ts'
import { findBinaries } from '../embedded.ts'
import { type BackupProgress, type BaseBackup, takeBaseBackup } from './base-backup.ts'

export interface Upstream {
  /** Of the primary, as it is reached from here; of a role that may replicate. */
  url: string
  /** Name of the server that follows: its slot is called so, and so is its connection. */
  follower: string
}

/** How far a follower is. */
export interface FollowerState {
  follower: string
  /** `streaming` when it has caught up once. */
  state: string
  /** A change is acknowledged only when it is there too. */
  synchronous: boolean
  /** Places in the log, in bytes: on the follower's disk, and written by the primary. */
  flushed: number
  written: number
  /** Written by the primary, and not yet on the follower's disk. */
  behindBytes: number
  /** Until what was written last was on the follower's disk; undefined: nothing is under way. */
  behindMs: number | undefined
}

/** A connection that is kept, for questions that come again and again. */
export interface Session {
  query: Query
  end(): Promise<void>
}

type Query = <Row extends object>(sql: string, values?: unknown[]) => Promise<Row[]>

const connectMs = 10_000
const promoteSeconds = 60
const copying = 'cluster.copy'
/** A cluster in which it lies follows, as PostgreSQL has it. */
const followSignal = 'standby.signal'

/** Of a slot and of a connection: what PostgreSQL allows there. */
function followerName(server: string): string {
  return `keepwatch_${server.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}`.slice(0, 63)
}

/**
 * Copies the primary into `dataDir`, ready to be started as its follower. The primary keeps what the
 * follower lacks in a slot from before the copy on. Whatever a `dataDir` has held is gone only when the
 * copy is whole and verified.
 *
 * @throws BackupDamaged, PostgreSQL's errors, or the reason of the signal
 */
export async function copyCluster(
  upstream: Upstream,
  config: {
    dataDir: string
    signal: AbortSignal
    maxKilobytesPerSecond?: number
    onProgress?(progress: BackupProgress): void
  },
): Promise<BaseBackup> {
  const { dataDir } = config
  const cluster = join(dataDir, 'cluster')
  const fresh = join(dataDir, copying)
  await ensureSlot(upstream)
  const backup = await takeBaseBackup({ ...config, url: upstream.url, folder: fresh })
  await writeFile(join(fresh, followSignal), '', { mode: 0o600, flush: true })
  await pointAt(upstream, fresh)
  await writeFile(join(dataDir, 'password'), decodeURIComponent(new URL(upstream.url).password), {
    ...{ mode: 0o600, flush: true },
  })
  const { owner } = await chooseAccount(dataDir, cluster, findBinaries().postgres)
  if (owner !== undefined) await giveTo(owner, fresh)
  await rm(`${cluster}.old`, { recursive: true, force: true })
  if (await isThere(cluster)) await rename(cluster, `${cluster}.old`)
  await rename(fresh, cluster)
  await rm(`${cluster}.old`, { recursive: true, force: true })
  return backup
}

/** What a folder holds, not started: nothing, one that takes writes, or one that follows. */
export async function clusterIn(dataDir: string): Promise<'none' | 'leads' | 'follows'> {
  const cluster = join(dataDir, 'cluster')
  if (!(await isThere(join(cluster, 'PG_VERSION')))) return 'none'
  return (await isThere(join(cluster, followSignal))) ? 'follows' : 'leads'
}

/**
 * Of one that led and does not run: from its next start on it takes no changes, and follows nobody: it
 * must not hear of a primary before it is known that it may follow that one.
 */
export async function standStill(dataDir: string): Promise<void> {
  const cluster = join(dataDir, 'cluster')
  await setIn(cluster, [`primary_conninfo = ''`, `synchronous_standby_names = ''`])
  const signal = join(cluster, followSignal)
  await writeFile(signal, '', { mode: 0o600, flush: true })
  const { owner } = await chooseAccount(dataDir, cluster, findBinaries().postgres)
  if (owner !== undefined) await lchown(signal, owner.uid, owner.gid)
}

/**
 * Whether one that stands still is where the primary has been: that has a later timeline, which begins
 * where this one ends or later. Two of the same timeline may have written different things in it.
 */
export async function isBehind(its: Session, primary: Session): Promise<boolean> {
  const [at] = await its.query<{ timeline: number; place: string | null }>(
    `SELECT greatest(
         (SELECT timeline_id FROM pg_control_checkpoint()),
         (SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir()
          WHERE name ~ '^[0-9A-F]{8}[.]history$')
       ) AS timeline,
       pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') AS place`,
  )
  const now = await timelineOf(primary)
  const end = endOf(at!.timeline, now.history ?? '')
  if (at!.place === null || end === undefined) return false
  return at!.timeline < now.timeline && BigInt(at!.place) <= end
}

/** How far one that stands still has come with what it has itself. */
export async function placeOf({ query }: Session): Promise<string | null> {
  const [row] = await query<{ place: string | null }>(
    'SELECT pg_last_wal_replay_lsn()::text AS place',
  )
  return row!.place
}

/** From now on it follows, without a new start. */
export async function beginToFollow(
  upstream: Upstream,
  its: Session,
  dataDir: string,
): Promise<void> {
  await ensureSlot(upstream)
  await followFrom(upstream, dataDir)
  await its.query('SELECT pg_reload_conf()')
}

export async function isStreaming(its: Session, primary: Session): Promise<boolean> {
  const { timeline } = await timelineOf(primary)
  const [receiver] = await its.query<{ status: string; timeline: number | null }>(
    'SELECT status, received_tli AS timeline FROM pg_stat_wal_receiver',
  )
  return receiver?.status === 'streaming' && receiver.timeline === timeline
}

async function timelineOf(primary: Session) {
  const [now] = await primary.query<{ timeline: number; history: string | null }>(
    `SELECT timeline, pg_read_file('pg_wal/' || name || '.history', true) AS history
     FROM (SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS name) AS file,
       LATERAL (SELECT ('x' || name)::bit(32)::int AS timeline) AS number`,
  )
  return now!
}

/** Where the primary has left a timeline, by its history: lines of timeline, place and reason. */
function endOf(timeline: number, history: string): bigint | undefined {
  for (const line of history.split('\n')) {
    const [number, place] = line.split('\t')
    if (Number(number) !== timeline || place === undefined) continue
    const [high, low] = place.split('/')
    return BigInt(`0x${high}`) * 0x1_0000_0000n + BigInt(`0x${low}`)
  }
  return undefined
}

/** Of one that does not run: where it looks for its primary from its next start on. */
export async function followFrom(upstream: Upstream, dataDir: string): Promise<void> {
  await pointAt(upstream, join(dataDir, 'cluster'))
}

/** Written over in place: PostgreSQL, which may run as another user, goes on owning the file. */
const pointAt = (upstream: Upstream, cluster: string) => setIn(cluster, following(upstream))

async function setIn(cluster: string, settings: readonly string[]) {
  const file = join(cluster, 'postgresql.auto.conf')
  const names = settings.map(line => line.split(' ', 1)[0]!)
  const before = (await readFile(file, 'utf8')).split('\n')
  const kept = before.filter(line => line !== '' && !names.includes(line.split(' ', 1)[0]!))
  await writeFile(file, `${[...kept, ...settings].join('\n')}\n`, { flush: true })
}

/** What PostgreSQL reads at its start. */
function following({ follower, url }: Upstream): string[] {
  const { hostname, password, port, username } = new URL(url)
  const parts = {
    ...{ host: hostname, port: port || '5432', user: decodeURIComponent(username) },
    ...{ password: decodeURIComponent(password), application_name: followerName(follower) },
    ...{ keepalives_idle: '10', keepalives_interval: '5', keepalives_count: '3' },
  }
  const inConninfo = (text: string) => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
  const inFile = (text: string) => `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`
  const conninfo = Object.entries(parts)
    .map(([key, value]) => `${key}=${inConninfo(value)}`)
    .join(' ')
  return [
    `primary_conninfo = ${inFile(conninfo)}`,
    `primary_slot_name = '${followerName(follower)}'`,
    `recovery_target_timeline = 'latest'`,
    // What the primary waits for is not what this one would.
    `synchronous_standby_names = ''`,
    // It looks for the primary again so often; PostgreSQL's own five seconds also delay a promotion.
    `wal_retrieve_retry_interval = '100ms'`,
  ]
}

async function ensureSlot({ follower, url }: Upstream) {
  const name = [followerName(follower)]
  await asked(url, async query => {
    await query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
       WHERE slot_name = $1 AND wal_status = 'lost'`,
      name,
    )
    await query(
      `SELECT pg_create_physical_replication_slot($1, true)
       WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)`,
      name,
    )
  })
}

/** Whether the primary has thrown away what the follower lacks, because that was too much: it must be copied anew. */
export async function isLeftBehind({ follower, url }: Upstream): Promise<boolean> {
  return asked(url, async query => {
    const [slot] = await query<{ status: string | null }>(
      'SELECT wal_status AS status FROM pg_replication_slots WHERE slot_name = $1',
      [followerName(follower)],
    )
    return slot === undefined || slot.status === 'lost'
  })
}

/** Whether it follows another, and takes no writes. */
export async function isFollower(url: string): Promise<boolean> {
  return asked(url, async query => {
    const [row] = await query<{ follows: boolean }>('SELECT pg_is_in_recovery() AS follows')
    return row?.follows === true
  })
}

/** Makes a follower a primary of its own, on a timeline of its own. @throws Error if it does not become one in time */
export async function promote(url: string): Promise<void> {
  await asked(
    url,
    async query => {
      const [row] = await query<{ done: boolean }>('SELECT pg_promote(true, $1) AS done', [
        promoteSeconds,
      ])
      if (row?.done !== true) throw new Error('PostgreSQL was not promoted in time')
    },
    promoteSeconds * 1000 + connectMs,
  )
}

/** @param follower whose disk a change waits for before it is acknowledged; undefined: nobody's */
export async function acknowledgeWith(
  { query }: Pick<Session, 'query'>,
  follower: string | undefined,
): Promise<void> {
  const names = follower === undefined ? '' : followerName(follower)
  await query(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`)
  await query('SELECT pg_reload_conf()')
}

/** Asked of the primary. */
export async function followersOf({ query }: Pick<Session, 'query'>): Promise<FollowerState[]> {
  const rows = await query<{
    application_name: string
    state: string
    sync_state: string
    flushed: string | null
    written: string
    behind_ms: string | null
  }>(
    `SELECT application_name, state, sync_state,
         pg_wal_lsn_diff(flush_lsn, '0/0') AS flushed,
         pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS written,
         1000 * extract(epoch FROM flush_lag) AS behind_ms
       FROM pg_stat_replication WHERE starts_with(application_name, 'keepwatch_')`,
  )
  return rows.map(({ application_name, behind_ms, state, sync_state, ...places }) => {
    const flushed = Number(places.flushed ?? 0)
    const written = Number(places.written)
    return {
      follower: application_name.slice('keepwatch_'.length),
      ...{ state, synchronous: sync_state === 'sync', flushed, written },
      behindBytes: Math.max(0, written - flushed),
      behindMs: behind_ms === null ? undefined : Number(behind_ms),
    }
  })
}

async function asked<T>(
  url: string,
  work: (query: Query) => Promise<T>,
  withinMs = connectMs,
): Promise<T> {
  const session = await openSession(url, withinMs)
  try {
    return await work(session.query)
  } finally {
    await session.end()
  }
}

/** @throws PostgreSQL's errors, also when a question takes longer than `withinMs` */
export async function openSession(url: string, withinMs = connectMs): Promise<Session> {
  const client = new pg.Client({
    ...{ connectionString: url, connectionTimeoutMillis: connectMs, query_timeout: withinMs },
    application_name: 'keepwatch/replica',
  })
  client.on('error', () => {})
  await client.connect()
  return {
    query: async (sql, values) => (await client.query(sql, values)).rows,
    end: () => client.end().catch(() => {}),
  }
}

async function giveTo({ gid, uid }: { gid: number; uid: number }, folder: string) {
  await lchown(folder, uid, gid)
  for (const entry of await readdir(folder, { recursive: true })) {
    await lchown(join(folder, entry), uid, gid)
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
