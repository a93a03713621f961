import { Button, PasswordInput } from '@mantine/core'
import { useState } from 'react'
import { reasonOf } from '../api/errors.ts'

const shortest = 12

/** The present password and a new one, twice. */
export function PasswordForm({
  busy,
  error,
  onSubmit,
  barrier,
}: {
  busy: boolean
  error: unknown
  onSubmit: (current: string, next: string) => void
  /** Why it cannot be changed here and now. */
  barrier?: string | undefined
}) {
  const [current, setCurrent] = useState('')
  const [next, setNext] = useState('')
  const [again, setAgain] = useState('')
  const short = next !== '' && next.length < shortest
  const differs = again !== '' && again !== next
  const ready = current !== '' && next.length >= shortest && again === next && barrier === undefined
  return (
    <form
      className="form"
      onSubmit={event => {
        event.preventDefault()
        if (ready) onSubmit(current, next)
      }}
    >
      <PasswordInput
        label="Present password"
        autoComplete="current-password"
        value={current}
        onChange={event => setCurrent(event.currentTarget.value)}
        data-testid="password-current"
      />
      <PasswordInput
        label="New password"
        description={`At least ${shortest} characters`}
        autoComplete="new-password"
        value={next}
        onChange={event => setNext(event.currentTarget.value)}
        error={short ? `${shortest - next.length} more characters` : undefined}
        data-testid="password-next"
      />
      <PasswordInput
        label="New password again"
        autoComplete="new-password"
        value={again}
        onChange={event => setAgain(event.currentTarget.value)}
        error={differs ? 'differs from the one above' : undefined}
        data-testid="password-again"
      />
      {error !== null && error !== undefined && (
        <div className="form-error" role="alert">
          {reasonOf(error)}
        </div>
      )}
      <Button
        type="submit"
        size="sm"
        loading={busy}
        aria-disabled={!ready}
        data-disabled={!ready}
        title={barrier}
        data-testid="password-submit"
      >
        Change password
      </Button>
    </form>
  )
}
