import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Driver } from '../../devices/drivers/driver.ts'
import { createMirror, type Mirror } from '../../devices/mirror.ts'
import { createFileSync, type FileSync } from '../../failover/files/sync.ts'
import { deploymentOf, folderRoute } from '../../failover/folder/check.ts'
import { createSharedFolder, type SharedFolder } from '../../failover/folder/folder.ts'
import type { FailoverNode } from '../../failover/node.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Identity } from '../../lib/tls.ts'
import type { Contents } from '../../store/postgres/contents.ts'
import type { Database } from '../../store/postgres/database.ts'
import { createMirrorSource } from '../../store/postgres/mirror-source.ts'
import type { Directory } from './directory.ts'

/** Folders of the data folder that the standby has as the active has them. */
const roots = ['certificates', 'drivers', 'flow', 'reports'] as const

export interface SharedFiles {
  /** In which both servers meet. */
  folder: SharedFolder
  /** What the standby copies from the active's own disk. */
  files: FileSync
  /** Work of the active. */
  mirror: Mirror
  routes: readonly ReturnType<typeof folderRoute>[]
}

/** All files that both servers have: in the shared folder, and copied from the active. */
export function createSharedFiles(
  deps: {
    log: Log
    metrics: Metrics
    clock: Clock
    identity: Identity
    node: Pick<FailoverNode, 'term' | 'status'>
    directory: Pick<Directory, 'peer'>
    database: Database
    contents: Contents
    drivers: ReadonlyMap<string, Driver>
    /** Files of a root have arrived. */
    onApplied(root: string): void
  },
  config: { name: string; incarnation: string; dataDir: string; spool: string | undefined },
): SharedFiles {
  const { identity, node } = deps
  const { name, incarnation, dataDir, spool } = config
  const deployment = deploymentOf(identity)
  for (const root of roots) mkdirSync(join(dataDir, root), { recursive: true, mode: 0o700 })

  const folder = createSharedFolder(deps, {
    ...{ server: name, incarnation, deployment, path: null },
    ...(spool === undefined ? {} : { spool }),
  })
  const files = createFileSync(
    {
      ...deps,
      term: node.term,
      highestTerm: () => node.status().term,
      active() {
        const peer = deps.directory.peer()
        const evidence = node.status().peer?.evidence
        const isActive = evidence?.kind === 'alive' && evidence.role === 'active'
        return peer && isActive
          ? { name: peer.name, host: peer.linkHost, port: peer.linkPort }
          : undefined
      },
    },
    { server: name, roots: roots.map(root => ({ name: root, folder: join(dataDir, root) })) },
  )
  const mirror = createMirror({
    ...deps,
    source: createMirrorSource(deps),
    repository: folder.repository,
    inUse: () => folder.state().path !== null,
  })
  return {
    folder,
    files,
    mirror,
    routes: [folderRoute({ server: name, deployment, dataDir }), ...files.routes],
  }
}
