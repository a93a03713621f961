import { Loader } from '@mantine/core'
import { IconRefresh } from '@tabler/icons-react'
import { type AnswerOf, useAnswer, useChange } from '../api/hooks.ts'
import { FormError } from '../parts/form-end.tsx'
import { Panel, Tag, type Tone } from '../parts/panel.tsx'
import { Answered, Empty } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { WriteButton } from '../parts/write-button.tsx'
import { findingsOf } from './words.ts'

type Last = NonNullable<AnswerOf<'getPreflight'>['preflight']>
type Finding = Last['findings'][number]
type Result = Finding['result']

const results: Record<Result, { tone: Tone; rank: number }> = {
  failure: { tone: 'bad', rank: 0 },
  warning: { tone: 'warn', rank: 1 },
  pass: { tone: 'ok', rank: 2 },
  skipped: { tone: 'plain', rank: 3 },
}

/** Every prerequisite of the pair: what was found, and what to do, the worst first. */
export function Preflight() {
  const query = useAnswer(
    'getPreflight',
    {},
    { every: last => (last?.preflight?.finished === null ? 1000 : 30_000) },
  )
  const start = useChange('startPreflight', ['getPreflight', 'listOperations'])
  const running = start.isPending || query.data?.preflight?.finished === null
  return (
    <Panel
      title="Prerequisites"
      note={query.data?.preflight ? <LastRun last={query.data.preflight} /> : 'not checked yet'}
      flush
      testId="preflight"
      actions={
        <WriteButton
          needs="operator"
          variant="default"
          leftSection={running ? <Loader size={12} /> : <IconRefresh size={14} />}
          barrier={running ? 'The check is under way.' : undefined}
          onClick={() => start.mutate({})}
          testId="preflight-start"
        >
          {query.data?.preflight ? 'Check again' : 'Check'}
        </WriteButton>
      }
    >
      <FormError error={start.error} />
      <Answered
        query={query}
        what="Could not load the check"
        empty={({ preflight }) =>
          preflight === null && (
            <Empty title="Not checked yet">
              The check looks at both servers: versions, clocks, addresses, the database, the shared
              folder, the tools of the connection type, free ports.
            </Empty>
          )
        }
      >
        {({ preflight }) => <Findings last={preflight!} />}
      </Answered>
    </Panel>
  )
}

function LastRun({ last }: { last: Last }) {
  if (last.finished === null) return <>under way, begun by {last.by}</>
  return (
    <>
      {findingsOf(last.findings)} · <Moment at={last.finished} /> by {last.by}
    </>
  )
}

function Findings({ last }: { last: Last }) {
  if (last.findings.length === 0) {
    return last.finished === null ? (
      <Empty title="Checking …" />
    ) : (
      <Empty title="It could not be carried out">
        The reason is with its steps, on the page Failover under “Drills and checks”.
      </Empty>
    )
  }
  const sorted = last.findings.toSorted((a, b) => results[a.result].rank - results[b.result].rank)
  const isQuiet = ({ result }: Finding) => result === 'pass' || result === 'skipped'
  const loud = sorted.filter(finding => !isQuiet(finding))
  const quiet = sorted.filter(isQuiet)
  return (
    <>
      <FindingList findings={loud} />
      {quiet.length > 0 && (
        <details className="findings-quiet" open={loud.length === 0}>
          <summary>{findingsOf(quiet)}</summary>
          <FindingList findings={quiet} />
        </details>
      )}
    </>
  )
}

function FindingList({ findings }: { findings: readonly Finding[] }) {
  return (
    <ul className="findings">
      {findings.map(({ id, title, result, text, whatToDo }) => (
        <li key={id} data-result={result}>
          <Tag tone={results[result].tone}>{result}</Tag>
          <div>
            <strong>{title}</strong>
            <p className="dim">{text}</p>
            {whatToDo !== null && <p>{whatToDo}</p>}
          </div>
        </li>
      ))}
    </ul>
  )
}
