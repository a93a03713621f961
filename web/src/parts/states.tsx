import { Button, Skeleton } from '@mantine/core'
import { IconAlertTriangle, IconRefresh } from '@tabler/icons-react'
import type { ReactNode } from 'react'
import { reasonOf } from '../api/errors.ts'

/** Grey bars in the shape of what is coming. */
export function Loading({ rows = 6, height }: { rows?: number; height?: number }) {
  return (
    <div className="panel-body stack" style={{ gap: 8 }} aria-busy="true">
      <span className="sr-only">Loading</span>
      {height === undefined ? (
        Array.from({ length: rows }, (_, row) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the bars are all alike
          <Skeleton key={row} height={14} width={`${92 - ((row * 17) % 38)}%`} />
        ))
      ) : (
        <Skeleton height={height} />
      )}
    </div>
  )
}

/** Nothing there, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="state">
      <strong>{title}</strong>
      {children !== undefined && <p>{children}</p>}
    </div>
  )
}

/** What went wrong, why, and a way to try again. */
export function Failure({
  error,
  what,
  retry,
}: {
  error: unknown
  what: string
  retry?: (() => unknown) | undefined
}) {
  return (
    <div className="state error" role="alert">
      <IconAlertTriangle size={20} className="bad" aria-hidden />
      <strong>{what}</strong>
      <p>{reasonOf(error)}</p>
      {retry !== undefined && (
        <Button
          size="xs"
          variant="default"
          leftSection={<IconRefresh size={14} />}
          onClick={() => void retry()}
        >
          Try again
        </Button>
      )}
    </div>
  )
}

/**
 * A question in its four states. An answer stays on screen while asking again fails: the banner of
 * the connection says so, and old figures are better than none.
 */
export function Answered<T>({
  query,
  what,
  loading,
  empty,
  children,
}: {
  query: {
    data: T | undefined
    isError: boolean
    error: Error | null
    refetch: () => unknown
  }
  /** For the error: "Could not load the devices". */
  what: string
  loading?: ReactNode
  /** What to show instead if the answer holds nothing. */
  empty?: (data: T) => ReactNode | false
  children: (data: T) => ReactNode
}) {
  if (query.data === undefined) {
    if (query.isError) return <Failure error={query.error} what={what} retry={query.refetch} />
    return loading ?? <Loading />
  }
  const nothing = empty?.(query.data)
  if (nothing !== undefined && nothing !== false) return nothing
  return children(query.data)
}
