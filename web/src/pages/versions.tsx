import { Radio, SegmentedControl } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { getRouteApi } from '@tanstack/react-router'
import { useState } from 'react'
import { useAnswer } from '../api/hooks.ts'
import { formatMoment } from '../format/time.ts'
import { formatBytes } from '../format/units.ts'
import { Diff, Source } from '../parts/diff.tsx'
import { Panel } from '../parts/panel.tsx'
import { Answered, Empty, Loading } from '../parts/states.tsx'
import { causeText, type Version } from '../parts/versions.tsx'
import { Moment } from '../parts/when.tsx'
import type { DeviceSearch } from '../router.tsx'
import type { Device } from './devices.tsx'

const route = getRouteApi('/devices/$id')

/** All versions of a device, and between any two of them what changed, by whom and why. */
export function VersionsPanel({ device }: { device: Device }) {
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const [limit, setLimit] = useState(100)
  const query = useAnswer('listVersions', { query: { device: device.id, limit } })

  function go(change: Partial<DeviceSearch>) {
    void navigate({ search: previous => ({ ...previous, ...change }), resetScroll: false })
  }

  return (
    <Answered
      query={query}
      what="Could not load the versions"
      empty={data =>
        data.versions.length === 0 && (
          <Panel>
            <Empty title="No version yet">
              The first successful backup is the first version. Press “Back up now”.
            </Empty>
          </Panel>
        )
      }
    >
      {({ versions, next }) => {
        const chosen =
          versions.find(version => String(version.id) === search.version) ?? versions[0]!
        const before = olderOf(versions, chosen, search.against)
        return (
          <>
            <Panel
              title="Versions"
              note="pick two to compare; by default one with its forerunner"
              flush
            >
              <div className="table-scroll" style={{ maxHeight: 264, overflowY: 'auto' }}>
                <table className="t" data-testid="versions-table">
                  <thead>
                    <tr>
                      <th>New</th>
                      <th>Old</th>
                      <th>Taken</th>
                      <th>Who</th>
                      <th>Cause</th>
                      <th className="num">Lines</th>
                      <th className="num hide-narrow">Size</th>
                      <th className="hide-narrow">Content</th>
                    </tr>
                  </thead>
                  <tbody>
                    {versions.map(version => (
                      <tr
                        key={version.id}
                        className={version.id === chosen.id ? 'link chosen' : 'link'}
                        onClick={() =>
                          void navigate({
                            search: ({ against: _, ...rest }) => ({
                              ...rest,
                              version: String(version.id),
                            }),
                            resetScroll: false,
                          })
                        }
                      >
                        <td>
                          <Radio
                            size="xs"
                            aria-label={`Show the version of ${formatMoment(version.takenAt)}`}
                            checked={version.id === chosen.id}
                            onChange={() => go({ version: String(version.id) })}
                            onClick={event => event.stopPropagation()}
                          />
                        </td>
                        <td>
                          <Radio
                            size="xs"
                            aria-label={`Compare with the version of ${formatMoment(version.takenAt)}`}
                            checked={version.id === before?.id}
                            disabled={version.id === chosen.id}
                            onChange={() =>
                              go({ version: String(chosen.id), against: String(version.id) })
                            }
                            onClick={event => event.stopPropagation()}
                          />
                        </td>
                        <td>
                          <Moment at={version.takenAt} />
                        </td>
                        <td>{version.author ?? <span className="dim">unknown</span>}</td>
                        <td className="dim">{causeText[version.cause]}</td>
                        <td className="num">
                          <span className="ok">+{version.added}</span>{' '}
                          <span className="bad">−{version.removed}</span>
                        </td>
                        <td className="num hide-narrow">{formatBytes(version.size)}</td>
                        <td className="mono dim hide-narrow">{version.hash.slice(0, 12)}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
                {next !== null && limit < 1000 && (
                  <button type="button" className="more" onClick={() => setLimit(1000)}>
                    Show older versions
                  </button>
                )}
              </div>
            </Panel>
            <Comparison
              key={`${chosen.id} ${before?.id}`}
              chosen={chosen}
              before={before}
              asText={search.view === 'text'}
              onView={asText =>
                void navigate({
                  search: ({ view: _, ...rest }) => (asText ? { ...rest, view: 'text' } : rest),
                  resetScroll: false,
                })
              }
            />
          </>
        )
      }}
    </Answered>
  )
}

/** What to compare with: what the URL says, else the next older version of the same artefact. */
function olderOf(
  versions: readonly Version[],
  chosen: Version,
  against: string | undefined,
): Version | undefined {
  const named = versions.find(version => String(version.id) === against)
  if (named !== undefined && named.id !== chosen.id) return named
  return versions
    .slice(versions.indexOf(chosen) + 1)
    .find(version => version.artefact === chosen.artefact)
}

type View = 'split' | 'unified' | 'text'

function Comparison({
  chosen,
  before,
  asText,
  onView,
}: {
  chosen: Version
  before: Version | undefined
  asText: boolean
  onView: (asText: boolean) => void
}) {
  const narrow = useMediaQuery('(max-width: 980px)', false, { getInitialValueInEffect: false })
  const [split, setSplit] = useState(!narrow)
  const view: View = asText || before === undefined ? 'text' : split ? 'split' : 'unified'
  const masked = { secrets: 'masked' } as const
  const after = useAnswer('getVersion', { params: { id: chosen.id }, query: masked })
  const older = useAnswer(
    'getVersion',
    { params: { id: before?.id ?? 0 }, query: masked },
    { enabled: before !== undefined },
  )
  const counts = useAnswer(
    'getDiff',
    { params: { id: chosen.id }, query: { against: before?.id, context: 0 } },
    { enabled: before !== undefined },
  )

  return (
    <Panel
      flush
      title={before === undefined || view === 'text' ? 'Configuration' : 'What changed'}
      note={
        <>
          {before !== undefined && view !== 'text' && `${formatMoment(before.takenAt)} → `}
          {formatMoment(chosen.takenAt)} · {chosen.author ?? 'author unknown'} ·{' '}
          {causeText[chosen.cause]}
          {counts.data !== undefined && view !== 'text' && (
            <>
              {' · '}
              <span className="ok">+{counts.data.added}</span>{' '}
              <span className="bad">−{counts.data.removed}</span>
            </>
          )}
        </>
      }
      actions={
        <SegmentedControl
          size="xs"
          aria-label="How to show it"
          value={view}
          onChange={value => {
            if (value === 'text') onView(true)
            else {
              setSplit(value === 'split')
              if (asText) onView(false)
            }
          }}
          data={[
            { value: 'split', label: 'Side by side', disabled: before === undefined },
            { value: 'unified', label: 'Unified', disabled: before === undefined },
            { value: 'text', label: 'Text' },
          ]}
        />
      }
    >
      <Answered query={after} what="Could not load the version" loading={<Loading rows={12} />}>
        {newer =>
          before === undefined || view === 'text' ? (
            <Source text={newer.text} />
          ) : (
            <Answered
              query={older}
              what="Could not load the older version"
              loading={<Loading rows={12} />}
            >
              {old => <Diff before={old.text} after={newer.text} unified={view === 'unified'} />}
            </Answered>
          )
        }
      </Answered>
    </Panel>
  )
}
