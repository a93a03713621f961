import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query'
import { createClient } from './client.ts'
import { type ConnectionDeps, createConnection } from './connection.ts'
import { ApiError } from './errors.ts'
import { createHandOver } from './hand-over.ts'
import { type Api, sessionKey } from './hooks.ts'
import { createWho } from './who.ts'

/**
 * The browser's own fetch and clocks, the client on them, and the cache of answers.
 * @param arrivedWith the code from the other console with which the page was opened
 */
export function createBrowserApi(page: Location, arrivedWith: string | undefined) {
  const deps: ConnectionDeps = {
    fetch: (address, init) => fetch(address, init),
    now: () => performance.now(),
    deadline: ms => AbortSignal.timeout(ms),
    later(action, ms) {
      const timer = setTimeout(action, ms)
      return () => clearTimeout(timer)
    },
  }
  const client = createClient(deps, createConnection(deps, page.origin))
  const handOver = createHandOver(
    {
      request: () => client.call('handOverSession', {}),
      now: () => Date.now(),
      later: deps.later,
      visible: () => document.visibilityState === 'visible',
      consoles: () => client.connection.state().pair?.servers.map(server => server.console) ?? [],
    },
    page.hostname,
  )
  const api: Api = { client, handOver, who: createWho(client, arrivedWith) }

  function onError(error: unknown): void {
    if (!(error instanceof ApiError)) return
    if (error.code === 'not-logged-in') queries.setQueryData(sessionKey, null)
    if (error.code === 'password-change-required') {
      void queries.invalidateQueries({ queryKey: sessionKey })
    }
  }
  const queries = new QueryClient({
    queryCache: new QueryCache({ onError }),
    mutationCache: new MutationCache({ onError }),
    defaultOptions: {
      queries: {
        staleTime: 5000,
        gcTime: 300_000,
        refetchOnWindowFocus: true,
        // A takeover takes seconds: what failed for want of a server is asked again for that long.
        retry: (count, error) => error instanceof ApiError && passes(error) && count < 3,
        retryDelay: count => Math.min(500 * 2 ** count, 4000),
        networkMode: 'always',
      },
      mutations: { networkMode: 'always', retry: false },
    },
  })
  return { api, queries }
}

function passes(error: ApiError): boolean {
  return error.code === 'network' || error.code === 'unavailable' || error.code === 'timeout'
}
