import { useMediaQuery } from '@mantine/hooks'
import type { PairState } from '../api/connection.ts'
import { type Collector, layoutOf, type Place, type Server, type SharedFolder } from './layout.ts'
import { AddressBox, CollectorBox, Database, Folder, ServerBox } from './picture-boxes.tsx'
import { Changes } from './picture-changes.tsx'
import { AddressLine, Delivery, FolderLine, HeartbeatLine, Link } from './picture-lines.tsx'

/**
 * The pair as it stands: two servers and the link between them, the database (or how changes get
 * from one’s to the other’s), the shared folder,
 * what leads the network to the active one, and the collectors with a line to each server that they
 * deliver to. A dot runs to the database at each heartbeat.
 */
export function PairPicture({
  pair,
  collectors,
  folder,
}: {
  pair: PairState
  collectors: readonly Collector[]
  folder: SharedFolder
}) {
  const narrow = useMediaQuery('(max-width: 820px)') ?? false
  const layout = layoutOf(narrow, collectors.length)
  const servers = pair.servers
    .toSorted((a, b) => a.installed.localeCompare(b.installed))
    .slice(0, 2)
    .map((server, index): { server: Server; at: Place } => ({
      server,
      at: layout.servers[index === 0 ? 0 : 1],
    }))
  const active = servers.find(({ server }) => server.role === 'active')
  const drawn = collectors.slice(0, layout.collectors.length)
  return (
    <svg
      viewBox={`0 0 ${layout.width} ${layout.height}`}
      className="picture"
      role="img"
      aria-label={`${pair.active ?? 'Nobody'} is active in term ${pair.term}. ${servers
        .map(({ server }) => `${server.name}: ${server.role}`)
        .join('. ')}.`}
    >
      {servers.length === 2 && <Link layout={layout} servers={pair.servers} />}
      {servers.map(({ server, at }) => (
        <g key={server.name}>
          {pair.replication === null && (
            <HeartbeatLine
              layout={layout}
              at={at}
              role={server.role}
              counter={pair.heartbeat.counter}
              reachable={pair.database.reachable}
            />
          )}
          <FolderLine layout={layout} at={at} role={server.role} folder={folder} />
        </g>
      ))}
      {active !== undefined && (
        <AddressLine layout={layout} at={active.at} address={pair.address} />
      )}
      {!layout.narrow &&
        drawn.map((collector, index) =>
          servers.map(({ server, at }) => (
            <Delivery
              key={`${collector.state.id} ${server.name}`}
              layout={layout}
              collector={collector}
              server={server.name}
              from={layout.collectors[index]!}
              to={at}
            />
          )),
        )}
      <AddressBox layout={layout} pair={pair} />
      {servers.map(({ server, at }) => (
        <ServerBox key={server.name} layout={layout} server={server} at={at} />
      ))}
      {pair.replication === null ? (
        <Database at={layout.database} database={pair.database} />
      ) : (
        servers.length === 2 && (
          <Changes layout={layout} pair={pair} replication={pair.replication} />
        )
      )}
      <Folder at={layout.folder} folder={folder} />
      {drawn.map((collector, index) => (
        <CollectorBox
          key={collector.state.id}
          layout={layout}
          collector={collector}
          at={layout.collectors[index]!}
        />
      ))}
      {collectors.length > drawn.length && (
        <text x={layout.width - 12} y={layout.height - 4} textAnchor="end" className="pic-dim">
          and {collectors.length - drawn.length} more
        </text>
      )}
    </svg>
  )
}
