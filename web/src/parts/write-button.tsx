import { ActionIcon, Button, type ButtonProps, Tooltip } from '@mantine/core'
import { IconExternalLink } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import type { Role } from '../../../src/api/contract/endpoint.ts'
import { useGoTo, useWriteBarrier, useWritesElsewhere } from '../api/hooks.ts'

interface Common {
  /** What the operation needs. */
  needs: Role
  onClick?: () => void
  testId?: string
  /** Why it makes no sense at the moment, apart from role and standby. */
  barrier?: string | undefined
}

/** What pressing does: the thing itself, going to the active for it, or nothing and why. */
function usePress({ needs, onClick, barrier: own }: Common) {
  const here = useWriteBarrier(needs)
  const elsewhere = useWritesElsewhere(needs)
  const goTo = useGoTo()
  if (elsewhere !== null) {
    const { console, label } = elsewhere
    return { leads: true, hint: label, press: () => void goTo(console) }
  }
  const hint = here ?? own
  return { leads: false, hint, press: hint === undefined ? onClick : undefined }
}

/**
 * A button that changes state: where that is not possible it stays, disabled, and says why; on a
 * standby it leads to the same page of the active.
 */
export function WriteButton({
  needs,
  onClick,
  testId,
  barrier,
  children,
  type = 'button',
  ...rest
}: Common & ButtonProps & { children: ReactNode; type?: 'button' | 'submit' }) {
  const { leads, hint, press } = usePress({ needs, barrier, ...(onClick ? { onClick } : {}) })
  const disabled = hint !== undefined && !leads
  return (
    <Tooltip
      label={hint}
      disabled={hint === undefined}
      w={260}
      events={{ hover: true, focus: true, touch: true }}
    >
      <Button
        size="xs"
        {...rest}
        type={type}
        data-testid={testId}
        data-disabled={disabled}
        aria-disabled={disabled}
        {...(leads ? { variant: 'default', rightSection: <IconExternalLink size={13} /> } : {})}
        onClick={event => {
          if (hint !== undefined) event.preventDefault()
          press?.()
        }}
      >
        {children}
      </Button>
    </Tooltip>
  )
}

/** The same as an icon with a name. */
export function WriteIcon({
  needs,
  onClick,
  testId,
  barrier,
  label,
  danger,
  loading,
  children,
}: Common & { label: string; danger?: boolean; loading?: boolean; children: ReactNode }) {
  const { leads, hint, press } = usePress({ needs, barrier, ...(onClick ? { onClick } : {}) })
  const disabled = hint !== undefined && !leads
  return (
    <Tooltip label={hint ?? label} maw={260}>
      <ActionIcon
        variant="subtle"
        size="sm"
        color={danger === true ? 'red' : 'gray'}
        loading={loading === true}
        data-testid={testId}
        aria-label={label}
        data-disabled={disabled}
        aria-disabled={disabled}
        onClick={event => {
          event.stopPropagation()
          press?.()
        }}
      >
        {children}
      </ActionIcon>
    </Tooltip>
  )
}
