import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import type { EndpointName } from '../../../src/api/contract/index.ts'
import type { Arguments } from './client.ts'
import type { ApiError } from './errors.ts'
import { type AnswerOf, useClient } from './hooks.ts'

type Paged = {
  [N in EndpointName]: AnswerOf<N> extends { next: string | null } ? N : never
}[EndpointName]

/** A list, newest first, page by page; what is shown is read again as often as is said. */
export function usePages<N extends Paged>(name: N, options: { limit: number; every: number }) {
  const client = useClient()
  const list = useInfiniteQuery<
    AnswerOf<N>,
    ApiError,
    { pages: AnswerOf<N>[] },
    readonly unknown[],
    string | undefined
  >({
    queryKey: [name, 'pages', options.limit],
    queryFn: ({ pageParam, signal }) =>
      client.call(
        name,
        { query: { limit: options.limit, cursor: pageParam } } as unknown as Arguments<N>,
        { signal },
      ),
    initialPageParam: undefined,
    getNextPageParam: page => (page as { next: string | null }).next ?? undefined,
    refetchInterval: options.every,
    placeholderData: keepPreviousData,
  })
  return {
    list,
    /** For the table: shows one page more; undefined if there is none. */
    more(label: string) {
      if (!list.hasNextPage) return undefined
      return { label, busy: list.isFetchingNextPage, show: () => void list.fetchNextPage() }
    },
  }
}
