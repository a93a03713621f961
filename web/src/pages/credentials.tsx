import { Modal, PasswordInput, Textarea, TextInput } from '@mantine/core'
import { IconTrash } from '@tabler/icons-react'
import { useState } from 'react'
import { reasonOf } from '../api/errors.ts'
import { useAnswer, useChange } from '../api/hooks.ts'
import { FormEnd } from '../parts/form-end.tsx'
import { Answered, Empty, Loading } from '../parts/states.tsx'
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
        <Answered
          query={query}
          what="Could not load the credentials"
          loading={<Loading rows={3} />}
          empty={data =>
            data.credentials.length === 0 &&
            !adding && (
              <Empty title="No credentials yet">
                Add the user that Keepwatch logs in to the devices with. Reading the configuration
                is all that it must be allowed.
              </Empty>
            )
          }
        >
          {data => (
            <div className="table-scroll">
              <table className="t">
                <thead>
                  <tr>
                    <th>Name</th>
                    <th>User</th>
                    <th>Added</th>
                    <th aria-label="Actions" />
                  </tr>
                </thead>
                <tbody>
                  {data.credentials.map(credential => (
                    <tr key={credential.id}>
                      <td>{credential.name}</td>
                      <td className="mono">{credential.username}</td>
                      <td className="dim">
                        <Ago at={credential.created} />
                      </td>
                      <td style={{ width: 1 }}>
                        <WriteIcon
                          needs="operator"
                          danger
                          label={`Remove ${credential.name}`}
                          onClick={() => remove.mutate({ params: { id: credential.id } })}
                        >
                          <IconTrash size={15} />
                        </WriteIcon>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </Answered>
        {remove.error !== null && (
          <div className="form-error" role="alert">
            {reasonOf(remove.error)}
          </div>
        )}
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
