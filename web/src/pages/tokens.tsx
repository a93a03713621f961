import { Button, CopyButton, Modal, Select, TextInput } from '@mantine/core'
import { IconCopy, IconPlus, IconTrash } from '@tabler/icons-react'
import { useState } from 'react'
import type { Role } from '../../../src/api/contract/endpoint.ts'
import { type AnswerOf, useAnswer, useChange } from '../api/hooks.ts'
import { fromLocalInput } from '../format/time.ts'
import { Confirm } from '../parts/confirm.tsx'
import { FormEnd } from '../parts/form-end.tsx'
import { Panel, Tag } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Ago, Moment } from '../parts/when.tsx'
import { WriteButton, WriteIcon } from '../parts/write-button.tsx'

type Token = AnswerOf<'listTokens'>['tokens'][number]

/** Keys for programs that use the API. */
export function TokensPanel() {
  const query = useAnswer('listTokens', {})
  const [adding, setAdding] = useState(false)
  const [revoking, setRevoking] = useState<Token | null>(null)
  const revoke = useChange('deleteToken', ['listTokens', 'listAudit'])
  return (
    <Panel
      title="API tokens"
      note="for programs; described at /api/v1/openapi.json"
      flush
      actions={
        <WriteButton
          needs="administrator"
          leftSection={<IconPlus size={14} />}
          onClick={() => setAdding(true)}
          testId="add-token"
        >
          New token
        </WriteButton>
      }
    >
      <Rows
        query={query}
        what="Could not load the tokens"
        label="API tokens"
        rows={data => data.tokens}
        keyOf={token => token.id}
        empty={
          <Empty title="No tokens yet">
            A program sends one as “Authorization: Bearer …” instead of logging in.
          </Empty>
        }
        columns={[
          { head: 'Name', cell: token => token.name },
          { head: 'Role', cell: token => <Tag>{token.role}</Tag> },
          { head: 'Made by', cell: token => token.createdBy },
          { head: 'Made', className: 'dim', cell: token => <Ago at={token.created} /> },
          {
            head: 'Expires',
            className: 'dim',
            cell: token => (token.expires === null ? 'never' : <Moment at={token.expires} />),
          },
          {
            head: '',
            tight: true,
            cell: token => (
              <WriteIcon
                needs="administrator"
                danger
                label={`Revoke ${token.name}`}
                onClick={() => setRevoking(token)}
              >
                <IconTrash size={15} />
              </WriteIcon>
            ),
          },
        ]}
      />
      {adding && <NewToken onClose={() => setAdding(false)} />}
      {revoking !== null && (
        <Confirm
          opened
          title={`Revoke ${revoking.name}?`}
          action="Revoke"
          busy={revoke.isPending}
          error={revoke.error}
          onClose={() => setRevoking(null)}
          onConfirm={() =>
            revoke.mutate({ params: { id: revoking.id } }, { onSuccess: () => setRevoking(null) })
          }
        >
          Programs that use it are refused from then on.
        </Confirm>
      )}
    </Panel>
  )
}

function NewToken({ onClose }: { onClose: () => void }) {
  const create = useChange('createToken', ['listTokens', 'listAudit'])
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role>('viewer')
  const [expires, setExpires] = useState('')
  if (create.data !== undefined) {
    const { secret } = create.data
    return (
      <Modal opened onClose={onClose} title={`The token ${create.data.token.name}`}>
        <div className="form">
          <div>This is the only time that it is shown. Keep it where the program finds it.</div>
          <pre className="block" data-testid="token-secret">
            {secret}
          </pre>
          <div className="form-actions">
            <CopyButton value={secret}>
              {({ copied, copy }) => (
                <Button
                  size="xs"
                  variant="default"
                  leftSection={<IconCopy size={14} />}
                  onClick={copy}
                >
                  {copied ? 'Copied' : 'Copy'}
                </Button>
              )}
            </CopyButton>
            <Button size="xs" onClick={onClose}>
              Done
            </Button>
          </div>
        </div>
      </Modal>
    )
  }
  const until = expires === '' ? null : fromLocalInput(expires)
  const ready = name.trim() !== '' && until !== undefined
  return (
    <Modal opened onClose={onClose} title="New API token">
      <form
        className="form"
        onSubmit={event => {
          event.preventDefault()
          if (!ready) return
          create.mutate({
            body: {
              name: name.trim(),
              role,
              expires: until === null ? null : new Date(until).toISOString(),
            },
          })
        }}
      >
        <TextInput
          label="Name"
          placeholder="What it is for"
          data-autofocus
          value={name}
          onChange={event => setName(event.currentTarget.value)}
          data-testid="token-name"
        />
        <Select
          label="Role"
          allowDeselect={false}
          value={role}
          onChange={value => value !== null && setRole(value as Role)}
          data={[
            { value: 'viewer', label: 'viewer: reads' },
            { value: 'operator', label: 'operator: also devices, backups, alarms' },
            { value: 'administrator', label: 'administrator: everything' },
          ]}
        />
        <TextInput
          label="Expires"
          description="Empty: never"
          type="datetime-local"
          value={expires}
          onChange={event => setExpires(event.currentTarget.value)}
        />
        <FormEnd
          error={create.error}
          busy={create.isPending}
          ready={ready}
          action="Make token"
          testId="token-save"
          onCancel={onClose}
        />
      </form>
    </Modal>
  )
}
