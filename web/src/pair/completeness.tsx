import type { PairState } from '../api/connection.ts'
import { formatCount } from '../format/units.ts'
import { Panel, Tag } from '../parts/panel.tsx'
import { Ago, Moment } from '../parts/when.tsx'

type Completeness = PairState['telemetry'][number]

/** How much of the telemetry that the other has each server lacks. */
export function TelemetryPanel({ pair }: { pair: PairState }) {
  const known = pair.telemetry.filter(({ error, lacks }) => lacks !== null || error !== null)
  if (known.length === 0) return null
  return (
    <Panel
      title="Telemetry on both servers"
      note="what one lacks it copies from the other, the newest first"
      testId="completeness"
    >
      <div className="table-scroll">
        <table className="t">
          <caption className="sr-only">What each server lacks</caption>
          <thead>
            <tr>
              <th scope="col">Server</th>
              <th scope="col">Lacks</th>
              <th scope="col">Copies</th>
              <th scope="col">Looked</th>
            </tr>
          </thead>
          <tbody>
            {known.map(one => (
              <Row key={one.server} one={one} />
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  )
}

function Row({ one }: { one: Completeness }) {
  const { copiedRows, copying, error, foundAt, lacks, server } = one
  return (
    <tr>
      <td className="nowrap">{server}</td>
      <td>
        {lacks === null ? (
          <span className="dim">not known yet</span>
        ) : lacks.length === 0 ? (
          <Tag tone="ok">nothing</Tag>
        ) : (
          lacks.map(({ from, kind, rows, to }) => (
            <div key={kind}>
              {formatCount(rows)} rows of {kind}, <Moment at={from} /> to <Moment at={to} />
            </div>
          ))
        )}
      </td>
      <td>
        {copying !== null && (
          <div>
            {copying.kind} up to <Moment at={copying.to} />
          </div>
        )}
        {copiedRows > 0 && <div className="dim">{formatCount(copiedRows)} rows so far</div>}
        {error !== null && <div className="bad">{error}</div>}
      </td>
      <td className="nowrap">{foundAt === null ? '–' : <Ago at={foundAt} pace={5000} />}</td>
    </tr>
  )
}
