/** The API in React: one client, its connection, queries and mutations by operation name. */
import {
  keepPreviousData,
  type QueryKey,
  useMutation,
  useQuery,
  useQueryClient,
} from '@tanstack/react-query'
import { createContext, useContext, useSyncExternalStore } from 'react'
import type { Role } from '../../../src/api/contract/endpoint.ts'
import type { Answer, EndpointName, Endpoints } from '../../../src/api/contract/index.ts'
import type { Arguments, Client } from './client.ts'
import type { ConnectionState } from './connection.ts'
import type { ApiError } from './errors.ts'
import { type HandOver, pageAt } from './hand-over.ts'
import type { Session } from './who.ts'

export type AnswerOf<N extends EndpointName> = Answer<Endpoints[N]>

/** What talks to the servers, of which there is one of each in a page. */
export interface Api {
  client: Client
  who: (signal: AbortSignal) => Promise<Session | null>
  handOver: HandOver
}

const ApiContext = createContext<Api | null>(null)
export const ApiProvider = ApiContext.Provider

export function useApi(): Api {
  const api = useContext(ApiContext)
  if (api === null) throw new Error('no ApiProvider above')
  return api
}

export function useClient(): Client {
  return useApi().client
}

export function useConnection(): ConnectionState {
  const { connection } = useClient()
  return useSyncExternalStore(connection.subscribe, connection.state)
}

/** What is derived from the connection; renders anew only when that changes, not at each poll. */
function useConnectionValue<T extends string | number | boolean | undefined | null>(
  select: (state: ConnectionState) => T,
): T {
  const { connection } = useClient()
  return useSyncExternalStore(connection.subscribe, () => select(connection.state()))
}

/** The server that calls go to. */
export function useBase(): string {
  return useConnectionValue(state => state.base)
}

/** Whether nobody answers. */
export function useStale(): boolean {
  return useConnectionValue(state => state.failure !== null)
}

/** Whether the server that answers does not know the session. */
export function useSignedOut(): boolean {
  return useConnectionValue(state => state.signedOut)
}

/** The console of the active server when it is this page's turn to go there. */
export function useElsewhere(): string | null {
  return useConnectionValue(state => state.elsewhere)
}

/** Opens the present page on another console, where one is logged in then too. */
export function useGoTo(): (console: string, options?: { here?: boolean }) => Promise<void> {
  const { handOver } = useApi()
  return async (console, { here = false } = {}) => {
    location.assign(await handOver.linkTo(pageAt(console, location, here)))
  }
}

/** Who is logged in; null: nobody. */
export const sessionKey: QueryKey = ['getSession']

export function useSession(): Session | null {
  const client = useClient()
  const { data } = useQuery<Session | null, ApiError>({
    queryKey: sessionKey,
    queryFn: ({ signal }) => client.call('getSession', {}, { signal }),
    enabled: false,
  })
  return data ?? null
}

interface AskOptions<A> {
  enabled?: boolean
  /** ms, perhaps depending on the last answer; false: once. */
  every?: number | false | ((last: A | undefined) => number | false)
}

/** The answer to a question, kept on screen while it is asked again. */
export function useAnswer<N extends EndpointName>(
  name: N,
  args: Arguments<N>,
  options: AskOptions<AnswerOf<N>> = {},
) {
  const client = useClient()
  const { every = false } = options
  return useQuery<AnswerOf<N>, ApiError>({
    queryKey: [name, args],
    queryFn: ({ signal }) => client.call(name, args, { signal }),
    enabled: options.enabled ?? true,
    refetchInterval: typeof every === 'function' ? query => every(query.state.data) : every,
    placeholderData: keepPreviousData as never,
  })
}

/** A change of state; when it is done, what was read of the named operations is read again. */
export function useChange<N extends EndpointName>(name: N, touches: readonly EndpointName[] = []) {
  const client = useClient()
  const queries = useQueryClient()
  return useMutation<AnswerOf<N>, ApiError, Arguments<N>>({
    mutationFn: args => client.call(name, args),
    onSuccess: () => {
      for (const touched of touches) void queries.invalidateQueries({ queryKey: [touched] })
    },
  })
}

const ranks: Record<Role, number> = { viewer: 0, operator: 1, administrator: 2 }

/** Why the present user cannot change state here and now; undefined if nothing is in the way. */
export function useWriteBarrier(role: Role): string | undefined {
  const missing = useMissingRole(role)
  return useConnectionValue(barrierOf) ?? missing
}

/** Where the user can do what this standby cannot; null: nowhere, or here. */
export function useWritesElsewhere(role: Role): { console: string; label: string } | null {
  const missing = useMissingRole(role)
  const console = useConnectionValue(({ pair, failure }) =>
    failure !== null || pair === null || pair.role === 'active' ? null : pair.activeConsole,
  )
  const active = useConnectionValue(state => state.pair?.active)
  if (console === null || missing !== undefined) return null
  return { console, label: `This is the standby. It is done on the active ${active}: go there.` }
}

function useMissingRole(role: Role): string | undefined {
  const session = useSession()
  if (session === null || ranks[session.role] >= ranks[role]) return undefined
  return `This needs the role ${role}; you are ${session.role}.`
}

function barrierOf({ pair, failure }: ConnectionState): string | undefined {
  if (failure !== null) return 'No server answers at the moment.'
  if (pair === null || pair.role === 'active') return undefined
  return pair.active === null
    ? 'No server is active at the moment, so nothing can be changed.'
    : `This is the standby ${pair.self}: read-only. Changes are made on ${pair.active}.`
}

export function useMay(role: Role): boolean {
  const session = useSession()
  return session !== null && ranks[session.role] >= ranks[role]
}
