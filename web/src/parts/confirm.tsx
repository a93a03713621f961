import { Button, Modal } from '@mantine/core'
import type { ReactNode } from 'react'
import { FormError } from './form-end.tsx'

/** Asks before something that cannot be taken back; stays open with the cause if it fails. */
export function Confirm({
  opened,
  title,
  action,
  danger = true,
  busy,
  error,
  onConfirm,
  onClose,
  children,
}: {
  opened: boolean
  title: string
  /** The verb on the button. */
  action: string
  danger?: boolean
  busy: boolean
  error: unknown
  onConfirm: () => void
  onClose: () => void
  children: ReactNode
}) {
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered>
      <div className="form">
        <div>{children}</div>
        <FormError error={error} />
        <div className="form-actions">
          <Button variant="default" size="xs" onClick={onClose}>
            Cancel
          </Button>
          <Button
            size="xs"
            {...(danger ? { color: 'red' } : {})}
            loading={busy}
            onClick={onConfirm}
            data-testid="confirm"
          >
            {action}
          </Button>
        </div>
      </div>
    </Modal>
  )
}
