import { IconMailForward } from '@tabler/icons-react'
import { Link } from '@tanstack/react-router'
import { type AnswerOf, useChange } from '../api/hooks.ts'
import { usePages } from '../api/use-pages.ts'
import { FormError } from '../parts/form-end.tsx'
import { Tag, type Tone } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { WriteButton } from '../parts/write-button.tsx'

type Notice = AnswerOf<'listNotices'>['notices'][number]

const stateTones: Record<Notice['state'], Tone> = {
  waiting: 'accent',
  sending: 'accent',
  ending: 'accent',
  sent: 'ok',
  failed: 'bad',
}

/** What people and programs were told, and what still waits to be. */
export function Notices() {
  const { list, more } = usePages('listNotices', { limit: 100, every: 5000 })
  return (
    <Rows
      query={list}
      what="Could not load the notices"
      label="Notices"
      testId="notices-table"
      stacks
      rows={data => data.pages.flatMap(page => page.notices)}
      keyOf={notice => notice.id}
      empty={
        <Empty title="Nobody was told anything yet">
          Who is told of takeovers, and of what is not well, is set under{' '}
          <Link to="/settings" search={{ tab: 'general' }}>
            Settings → General → Failover
          </Link>
          .
        </Empty>
      }
      columns={[
        { head: 'When', cell: notice => <Moment at={notice.created} /> },
        { head: 'Class', cell: notice => <Tag>{notice.class}</Tag> },
        {
          head: 'To',
          wrap: true,
          cell: notice => (
            <>
              <span className="dim">{notice.channel}</span> {notice.recipient}
            </>
          ),
        },
        { head: 'Subject', wrap: true, cell: notice => notice.subject },
        { head: 'State', cell: notice => <State notice={notice} /> },
        { head: 'Attempts', num: true, cell: notice => notice.attempts },
        { head: 'Failure', wrap: true, className: 'dim', cell: notice => notice.failure ?? '' },
      ]}
      more={more('Show older notices')}
    />
  )
}

function State({ notice: { state } }: { notice: Notice }) {
  return <Tag tone={stateTones[state]}>{state === 'ending' ? 'sending' : state}</Tag>
}

/** A test to everybody who is told of something, and how far it got. */
export function SendTest({ barrier }: { barrier: string | undefined }) {
  const send = useChange('sendTestNotice', ['listNotices'])
  return (
    <div className="stack" style={{ gap: 6 }}>
      <div>
        <WriteButton
          needs="administrator"
          variant="default"
          loading={send.isPending}
          leftSection={<IconMailForward size={14} />}
          barrier={barrier}
          onClick={() => send.mutate({})}
          testId="send-test"
        >
          Send a test
        </WriteButton>
      </div>
      <FormError error={send.error} />
      {send.data !== undefined && (
        <ul className="sent" aria-label="How far the test got" data-testid="test-result">
          {send.data.notices.map(notice => (
            <li key={notice.id}>
              <State notice={notice} /> {notice.recipient}
              {notice.failure !== null && <span className="bad"> {notice.failure}</span>}
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}
