import { Loader } from '@mantine/core'
import { IconCheck, IconX } from '@tabler/icons-react'
import { type AnswerOf, useAnswer } from '../api/hooks.ts'
import { formatMoment } from '../format/time.ts'
import { formatDuration } from '../format/units.ts'
import { Panel, Tag } from '../parts/panel.tsx'
import { Answered } from '../parts/states.tsx'
import { Moment, useNow } from '../parts/when.tsx'
import { kindNames, type Operation, outcomeOf, reportOf } from './words.ts'

/**
 * What is under way, or was: step by step, across the servers, and its report in the end.
 * @param onClose none while it is under way
 */
export function OperationPanel({
  id,
  onClose,
}: {
  id: string
  onClose?: (() => void) | undefined
}) {
  const query = useAnswer(
    'getOperation',
    { params: { id } },
    { every: (last?: AnswerOf<'getOperation'>) => (last?.finished != null ? false : 500) },
  )
  const title = query.data === undefined ? 'Under way' : kindNames[query.data.kind]
  return (
    <Panel
      title={title}
      note={query.data === undefined ? undefined : <Since operation={query.data} />}
      testId="operation"
      actions={
        onClose !== undefined ? (
          <button type="button" className="linklike" onClick={onClose}>
            Close
          </button>
        ) : undefined
      }
    >
      <Answered query={query} what="Could not load how far it is">
        {operation => <OperationSteps operation={operation} />}
      </Answered>
    </Panel>
  )
}

function Since({ operation }: { operation: Operation }) {
  const now = useNow(operation.finished === null ? 500 : 60_000)
  const { started, finished, by } = operation
  const end = finished === null ? now : Date.parse(finished)
  return (
    <>
      by {by}, begun <Moment at={started} />, {finished === null ? 'for' : 'took'}{' '}
      {formatDuration(Math.max(0, end - Date.parse(started)))}
    </>
  )
}

function OperationSteps({ operation }: { operation: Operation }) {
  const { steps, finished } = operation
  const { label, tone } = outcomeOf(operation)
  return (
    <>
      <ol className="steps" aria-live="polite">
        {steps.map((step, index) => {
          const last = index === steps.length - 1
          const running = finished === null && last && step.ok === null
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: steps are only added
            <li key={index} className={step.ok === false ? 'bad' : undefined}>
              <span className="steps-mark" aria-hidden="true">
                {running ? (
                  <Loader size={12} />
                ) : step.ok === false ? (
                  <IconX size={14} />
                ) : (
                  <IconCheck size={14} />
                )}
              </span>
              <time dateTime={step.at} className="dim mono">
                {formatMoment(step.at, true).slice(11)}
              </time>{' '}
              <strong>{step.server}</strong> {step.text}
            </li>
          )
        })}
      </ol>
      {steps.length === 0 && <p className="dim steps-none">No step yet.</p>}
      <p className="steps-end">
        <Tag tone={tone} testId="operation-outcome">
          {finished === null && <Loader size={10} />}
          {label}
        </Tag>{' '}
        <span data-testid="operation-report">{reportOf(operation)}</span>
      </p>
    </>
  )
}
