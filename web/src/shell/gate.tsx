import { Loader } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import type { ApiError } from '../api/errors.ts'
import { sessionKey, useApi } from '../api/hooks.ts'
import type { Session } from '../api/who.ts'
import { Failure } from '../parts/states.tsx'
import { FirstPassword, LogIn } from './log-in.tsx'
import { Shell } from './shell.tsx'

/** Lets nobody past who is not logged in with a password of their own. */
export function Gate() {
  const { who } = useApi()
  const { data, error, refetch } = useQuery<Session | null, ApiError>({
    queryKey: sessionKey,
    queryFn: ({ signal }) => who(signal),
    staleTime: Number.POSITIVE_INFINITY,
  })
  if (data === undefined) {
    return (
      <div className="sign-in">
        {error === null ? (
          <Loader size="sm" aria-label="Loading" />
        ) : (
          <Failure error={error} what="The console cannot reach its server" retry={refetch} />
        )}
      </div>
    )
  }
  if (data === null) return <LogIn />
  if (data.mustChangePassword) return <FirstPassword session={data} />
  return <Shell />
}
