import { Button } from '@mantine/core'
import { reasonOf } from '../api/errors.ts'

/** What the server said against it; nothing while there is nothing. */
export function FormError({ error }: { error: unknown }) {
  if (error === null || error === undefined) return null
  return (
    <div className="form-error" role="alert">
      {reasonOf(error)}
    </div>
  )
}

/** The end of a form: what the server said against it, and the buttons that leave or send it. */
export function FormEnd(props: {
  error: unknown
  busy: boolean
  /** Whether what is needed is filled in; the button keeps the focus either way. */
  ready: boolean
  /** What the button does: `Save`. */
  action: string
  testId: string
  onCancel: () => void
}) {
  const { error, busy, ready, action, testId, onCancel } = props
  return (
    <>
      <FormError error={error} />
      <div className="form-actions">
        <Button variant="default" size="xs" onClick={onCancel}>
          Cancel
        </Button>
        <Button
          type="submit"
          size="xs"
          loading={busy}
          aria-disabled={!ready}
          data-disabled={!ready}
          data-testid={testId}
        >
          {action}
        </Button>
      </div>
    </>
  )
}
