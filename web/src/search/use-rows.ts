import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query'
import { useCallback, useMemo, useState } from 'react'
import type { ApiError } from '../api/errors.ts'
import { type AnswerOf, useClient } from '../api/hooks.ts'
import { boundsOf, boundsQuery, type Range } from './range.ts'

type Listing = 'listLogs' | 'listTraps'

/** Everything that narrows a list of messages. */
export interface LogFilter {
  text?: string | undefined
  severity?: string | undefined
  sender?: string | undefined
}

const pageRows = 500
/** Rows kept in the page; beyond, a narrower question finds more than scrolling does. */
export const mostRows = 50_000

/**
 * The rows of a range, newest first, page by page. All pages must be of one range, so "now" is the
 * moment of asking and moves only with `refresh` or another range.
 */
export function useRows<N extends Listing>(name: N, range: Range, filter: LogFilter) {
  const client = useClient()
  const rangeKey = JSON.stringify(range)
  const [asked, setAsked] = useState(() => ({ at: Date.now(), rangeKey }))
  if (asked.rangeKey !== rangeKey) setAsked({ at: Date.now(), rangeKey })
  const { text, severity, sender } = filter
  const query = useMemo(
    () => ({
      ...boundsQuery(boundsOf(JSON.parse(rangeKey) as Range, asked.at)),
      text,
      severity,
      sender,
    }),
    [rangeKey, asked.at, text, severity, sender],
  )
  type Page = AnswerOf<N>
  const list = useInfiniteQuery<
    Page,
    ApiError,
    { pages: Page[] },
    readonly unknown[],
    string | undefined
  >({
    queryKey: [name, query],
    queryFn: ({ pageParam, signal }) =>
      client.call<Listing>(
        name,
        { query: { ...query, limit: pageRows, cursor: pageParam } },
        { signal },
      ) as Promise<Page>,
    initialPageParam: undefined,
    getNextPageParam: page => page.next ?? undefined,
    placeholderData: keepPreviousData,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
  })
  const rows = useMemo(
    () =>
      (list.data?.pages.flatMap(page => page.rows as unknown[]) ?? []) as Page['rows'][number][],
    [list.data],
  )
  const full = rows.length >= mostRows
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = list
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage && !full) void fetchNextPage()
  }, [hasNextPage, isFetchingNextPage, fetchNextPage, full])
  return {
    list,
    rows,
    /** The question, without paging. */
    query,
    /** True when no further page is loaded although there may be more. */
    full,
    more,
    refresh: () => setAsked({ at: Date.now(), rangeKey }),
  }
}
