import { Modal, PasswordInput, Textarea, TextInput } from '@mantine/core'
import { IconTrash } from '@tabler/icons-react'
import { useState } from 'react'
import { useAnswer, useChange } from '../api/hooks.ts'
import { FormEnd, FormError } from '../parts/form-end.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Ago } from '../parts/when.tsx'
import { WriteButton, WriteIcon } from '../parts/write-button.tsx'

/** What Keepwatch logs in to devices with; secrets go in and never come out. */
export function CredentialsDialog({ onClose }: { onClose: () => void }) {
  const query = useAnswer('listCredentials', {})
  const remove = useChange('deleteCredential', ['listCredentials'])
  const [adding, setAdding] = useState(false)
  return (
    <Modal opened onClose={onClose} title="Credentials for devices" size="lg">
      <div className="stack">
        {!(adding && query.data?.credentials.length === 0) && (
          <Rows
            query={query}
            what="Could not load the credentials"
            label="Credentials"
            rows={data => data.credentials}
            keyOf={credential => credential.id}
            empty={
              <Empty title="No credentials yet">
                Add the user that Keepwatch logs in to the devices with. Reading the configuration
                is all that it must be allowed.
              </Empty>
            }
            columns={[
              { head: 'Name', cell: credential => credential.name },
              { head: 'User', className: 'mono', cell: credential => credential.username },
              {
                head: 'Added',
                className: 'dim',
                cell: credential => <Ago at={credential.created} />,
              },
              {
                head: '',
                tight: true,
                cell: credential => (
                  <WriteIcon
                    needs="operator"
                    danger
                    label={`Remove ${credential.name}`}
                    onClick={() => remove.mutate({ params: { id: credential.id } })}
                  >
                    <IconTrash size={15} />
                  </WriteIcon>
                ),
              },
            ]}
          />
        )}
        <FormError error={remove.error} />
        {adding ? (
          <NewCredential onDone={() => setAdding(false)} />
        ) : (
          <div className="form-actions">
            <WriteButton needs="operator" onClick={() => setAdding(true)} testId="add-credential">
              Add credential
            </WriteButton>
          </div>
        )}
      </div>
    </Modal>
  )
}

function NewCredential({ onDone }: { onDone: () => void }) {
  const create = useChange('createCredential', ['listCredentials'])
  const [name, setName] = useState('')
  const [username, setUsername] = useState('')
  const [password, setPassword] = useState('')
  const [enable, setEnable] = useState('')
  const [privateKey, setPrivateKey] = useState('')
  const ready =
    name.trim() !== '' && username.trim() !== '' && (password !== '' || privateKey.trim() !== '')
  return (
    <form
      className="form"
      onSubmit={event => {
        event.preventDefault()
        if (!ready) return
        create.mutate(
          {
            body: {
              name: name.trim(),
              username: username.trim(),
              ...(password === '' ? {} : { password }),
              ...(enable === '' ? {} : { enable }),
              ...(privateKey.trim() === '' ? {} : { privateKey }),
            },
          },
          { onSuccess: onDone },
        )
      }}
    >
      <div className="grid-2">
        <TextInput
          label="Name"
          placeholder="core routers"
          value={name}
          onChange={event => setName(event.currentTarget.value)}
          data-testid="credential-name"
        />
        <TextInput
          label="User"
          autoComplete="off"
          value={username}
          onChange={event => setUsername(event.currentTarget.value)}
          data-testid="credential-username"
        />
        <PasswordInput
          label="Password"
          autoComplete="new-password"
          value={password}
          onChange={event => setPassword(event.currentTarget.value)}
          data-testid="credential-password"
        />
        <PasswordInput
          label="Enable password"
          description={undefined}
          autoComplete="new-password"
          value={enable}
          onChange={event => setEnable(event.currentTarget.value)}
        />
      </div>
      <Textarea
        label="Private key"
        description="OpenSSH or PEM, instead of or beside a password"
        autosize
        minRows={2}
        maxRows={8}
        value={privateKey}
        onChange={event => setPrivateKey(event.currentTarget.value)}
      />
      <FormEnd
        error={create.error}
        busy={create.isPending}
        ready={ready}
        action="Save"
        testId="credential-save"
        onCancel={onDone}
      />
    </form>
  )
}
