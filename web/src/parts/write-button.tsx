import { ActionIcon, Button, type ButtonProps, Tooltip } from '@mantine/core'
import type { ReactNode } from 'react'
import type { Role } from '../../../src/api/contract/endpoint.ts'
import { useWriteBarrier } from '../api/hooks.ts'

interface Common {
  /** What the operation needs. */
  needs: Role
  onClick?: () => void
  testId?: string
  /** Why it makes no sense at the moment, apart from role and standby. */
  barrier?: string | undefined
}

/** A button that changes state: where that is not possible it stays, disabled, and says why. */
export function WriteButton({
  needs,
  onClick,
  testId,
  barrier: own,
  children,
  type = 'button',
  ...rest
}: Common & ButtonProps & { children: ReactNode; type?: 'button' | 'submit' }) {
  const barrier = useWriteBarrier(needs) ?? own
  return (
    <Tooltip
      label={barrier}
      disabled={barrier === undefined}
      w={260}
      events={{ hover: true, focus: true, touch: true }}
    >
      <Button
        size="xs"
        {...rest}
        type={type}
        data-testid={testId}
        data-disabled={barrier !== undefined}
        aria-disabled={barrier !== undefined}
        onClick={event => {
          if (barrier !== undefined) event.preventDefault()
          else onClick?.()
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
  barrier: own,
  label,
  danger,
  loading,
  children,
}: Common & { label: string; danger?: boolean; loading?: boolean; children: ReactNode }) {
  const barrier = useWriteBarrier(needs) ?? own
  return (
    <Tooltip label={barrier ?? label} maw={260}>
      <ActionIcon
        variant="subtle"
        size="sm"
        color={danger === true ? 'red' : 'gray'}
        loading={loading === true}
        data-testid={testId}
        aria-label={label}
        data-disabled={barrier !== undefined}
        aria-disabled={barrier !== undefined}
        onClick={event => {
          event.stopPropagation()
          if (barrier === undefined) onClick?.()
        }}
      >
        {children}
      </ActionIcon>
    </Tooltip>
  )
}
