import { Modal, PasswordInput, Select, TextInput } from '@mantine/core'
import { IconPlus, IconTrash } from '@tabler/icons-react'
import { useState } from 'react'
import { type AnswerOf, useAnswer, useChange } from '../api/hooks.ts'
import { formatCount } from '../format/units.ts'
import { FormEnd, FormError } from '../parts/form-end.tsx'
import { Panel } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Ago } from '../parts/when.tsx'
import { WriteButton, WriteIcon } from '../parts/write-button.tsx'

type Access = AnswerOf<'listSnmpAccesses'>['accesses'][number]
type Polled = AnswerOf<'listInterfaces'>['polled'][number]

const authProtocols = ['sha256', 'sha512', 'sha384', 'sha224', 'sha', 'md5'] as const
const privProtocols = ['aes', 'aes256b', 'aes256r', 'des'] as const

/** How exporters are asked for the names of their interfaces, and what came of it. */
export function SnmpAccesses() {
  const query = useAnswer('listSnmpAccesses', {})
  const remove = useChange('deleteSnmpAccess', ['listSnmpAccesses', 'listAudit'])
  const [adding, setAdding] = useState(false)
  return (
    <Panel
      title="SNMP"
      note="names of interfaces; each exporter is asked by one after the other until it answers"
      flush
      actions={
        <WriteButton
          needs="administrator"
          leftSection={<IconPlus size={14} />}
          onClick={() => setAdding(true)}
          testId="add-snmp-access"
        >
          New access
        </WriteButton>
      }
    >
      <Rows
        query={query}
        what="Could not load the SNMP accesses"
        label="SNMP accesses"
        rows={data => data.accesses}
        keyOf={access => access.id}
        empty={
          <Empty title="No exporter is asked">
            Interfaces are shown by their numbers. With a community or a user of SNMPv3 that may
            read IF-MIB they get their names.
          </Empty>
        }
        columns={[
          { head: 'Name', cell: (access: Access) => access.name },
          { head: 'Version', cell: access => access.version },
          { head: 'Added', className: 'dim', cell: access => <Ago at={access.created} /> },
          {
            head: '',
            tight: true,
            cell: access => (
              <WriteIcon
                needs="administrator"
                danger
                label={`Remove ${access.name}`}
                onClick={() => remove.mutate({ params: { id: access.id } })}
              >
                <IconTrash size={15} />
              </WriteIcon>
            ),
          },
        ]}
      />
      <FormError error={remove.error} />
      <PolledExporters />
      {adding && <NewAccess onClose={() => setAdding(false)} />}
    </Panel>
  )
}

function PolledExporters() {
  const query = useAnswer('listInterfaces', {}, { every: 10_000 })
  if (query.data === undefined || query.data.polled.length === 0) return null
  return (
    <Rows
      query={query}
      what="Could not load what came of asking"
      label="Exporters that were asked"
      rows={data => data.polled}
      keyOf={one => one.exporter}
      empty={null}
      columns={[
        { head: 'Exporter', className: 'mono', cell: (one: Polled) => one.exporter },
        {
          head: 'Answered',
          wrap: true,
          cell: one =>
            one.by === null ? <span className="warn">no: {one.error}</span> : `to ${one.by}`,
        },
        { head: 'Interfaces', num: true, cell: one => formatCount(one.interfaces) },
        { head: 'Asked', className: 'dim', cell: one => <Ago at={one.at} /> },
      ]}
    />
  )
}

function NewAccess({ onClose }: { onClose: () => void }) {
  const create = useChange('createSnmpAccess', ['listSnmpAccesses', 'listInterfaces', 'listAudit'])
  const [name, setName] = useState('')
  const [version, setVersion] = useState<'2c' | '3'>('2c')
  const [community, setCommunity] = useState('')
  const [user, setUser] = useState('')
  const [auth, setAuth] = useState<(typeof authProtocols)[number]>('sha256')
  const [authKey, setAuthKey] = useState('')
  const [priv, setPriv] = useState<(typeof privProtocols)[number]>('aes')
  const [privKey, setPrivKey] = useState('')
  const ready =
    name.trim() !== '' &&
    (version === '2c' ? community !== '' : user.trim() !== '' && (privKey === '' || authKey !== ''))
  const access =
    version === '2c'
      ? { version, community }
      : {
          version,
          user: user.trim(),
          ...(authKey === '' ? {} : { auth: { protocol: auth, key: authKey } }),
          ...(privKey === '' ? {} : { priv: { protocol: priv, key: privKey } }),
        }
  return (
    <Modal opened onClose={onClose} title="New SNMP access">
      <form
        className="form"
        onSubmit={event => {
          event.preventDefault()
          if (ready) create.mutate({ body: { name: name.trim(), access } }, { onSuccess: onClose })
        }}
      >
        <TextInput
          label="Name"
          placeholder="core routers"
          data-autofocus
          value={name}
          onChange={event => setName(event.currentTarget.value)}
          data-testid="snmp-name"
        />
        <Select
          label="Version"
          allowDeselect={false}
          value={version}
          onChange={value => setVersion(value as '2c' | '3')}
          data={['2c', '3']}
        />
        {version === '2c' ? (
          <PasswordInput
            label="Community"
            value={community}
            onChange={event => setCommunity(event.currentTarget.value)}
            data-testid="snmp-community"
          />
        ) : (
          <>
            <TextInput
              label="User"
              value={user}
              onChange={event => setUser(event.currentTarget.value)}
            />
            <div className="grid-2">
              <Select
                label="Authentication"
                allowDeselect={false}
                value={auth}
                onChange={value => setAuth(value as typeof auth)}
                data={[...authProtocols]}
              />
              <PasswordInput
                label="Its key"
                description="Empty: none"
                value={authKey}
                onChange={event => setAuthKey(event.currentTarget.value)}
              />
              <Select
                label="Encryption"
                allowDeselect={false}
                value={priv}
                onChange={value => setPriv(value as typeof priv)}
                data={[...privProtocols]}
              />
              <PasswordInput
                label="Its key"
                description="Empty: none"
                value={privKey}
                onChange={event => setPrivKey(event.currentTarget.value)}
              />
            </div>
          </>
        )}
        <FormEnd
          error={create.error}
          busy={create.isPending}
          ready={ready}
          action="Add"
          testId="save-snmp-access"
          onCancel={onClose}
        />
      </form>
    </Modal>
  )
}
