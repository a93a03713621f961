import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import type { ApiError } from '../api/errors.ts'
import { sessionKey, useBase, useChange, useClient } from '../api/hooks.ts'
import type { Session } from '../api/who.ts'
import { PasswordForm } from '../parts/password-form.tsx'
import { Brand } from './navigation.tsx'

export function LogIn() {
  const client = useClient()
  const queries = useQueryClient()
  const base = useBase()
  const [user, setUser] = useState('')
  const [password, setPassword] = useState('')
  const logIn = useMutation<Session, ApiError>({
    mutationFn: () => client.call('logIn', { body: { user, password } }),
    async onSuccess(session) {
      if (base !== '') {
        // A browser may keep another server's cookie from this page; then its own page is the way.
        const kept = await client.call('getSession', {}).catch(() => undefined)
        if (kept === undefined) {
          location.assign(base)
          return
        }
      }
      // Otherwise the last answer of the connection would still say that nobody is logged in.
      await client.connection.poll()
      await queries.resetQueries({ predicate: query => query.queryKey[0] !== sessionKey[0] })
      queries.setQueryData(sessionKey, session)
    },
  })

  return (
    <div className="sign-in">
      <section className="panel" aria-label="Log in">
        <Brand />
        <div className="panel-body">
          <form
            className="form"
            onSubmit={event => {
              event.preventDefault()
              logIn.mutate()
            }}
          >
            <TextInput
              label="User"
              name="user"
              autoComplete="username"
              autoFocus
              required
              withAsterisk={false}
              value={user}
              onChange={event => setUser(event.currentTarget.value)}
              data-testid="login-user"
            />
            <PasswordInput
              label="Password"
              name="password"
              autoComplete="current-password"
              required
              withAsterisk={false}
              value={password}
              onChange={event => setPassword(event.currentTarget.value)}
              data-testid="login-password"
            />
            {logIn.error !== null && (
              <div className="form-error" role="alert" data-testid="login-error">
                {logIn.error.message}
              </div>
            )}
            <Button type="submit" loading={logIn.isPending} data-testid="login-submit">
              Log in
            </Button>
          </form>
        </div>
      </section>
    </div>
  )
}

/** The first log-in goes no further than to a password that only its owner knows. */
export function FirstPassword({ session }: { session: Session }) {
  const queries = useQueryClient()
  const change = useChange('changePassword')
  return (
    <div className="sign-in">
      <section className="panel" aria-label="Choose a password">
        <Brand />
        <div className="panel-body">
          <h1>Choose your password</h1>
          <p className="dim" style={{ marginTop: 0 }}>
            {session.user} still has the password from the installation. Nothing else is possible
            before it is changed.
          </p>
          <PasswordForm
            busy={change.isPending}
            error={change.error}
            onSubmit={(current, next) =>
              change.mutate(
                { body: { current, next } },
                { onSuccess: changed => queries.setQueryData(sessionKey, changed) },
              )
            }
          />
        </div>
      </section>
    </div>
  )
}
