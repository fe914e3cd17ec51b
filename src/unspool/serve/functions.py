"""The functions that statements may call: they make values of values, and nothing else.

A list of what is allowed, not of what is not: databases have thousands of functions, and get new
ones with each version and each extension.
"""

from __future__ import annotations

__all__ = ["FUNCTIONS", "NOT_FUNCTIONS", "words"]

_COMMON = """
abs acos acosh asin asinh atan atan2 atanh cbrt ceil ceiling cos cosh cot degrees div exp floor
greatest least ln log log10 log2 mod pi power pow radians round sign sin sinh sqrt tan tanh trunc
truncate gcd lcm factorial isnan isinf isfinite
ascii bit_length char_length character_length chr concat concat_ws initcap instr left length locate
lower lcase ltrim md5 octet_length overlay position regexp_replace regexp_substr regexp_instr
regexp_like regexp_count replace reverse right rtrim soundex split_part strpos substr substring
substring_index translate trim ucase unicode upper
coalesce ifnull nullif if iif nvl cast try_cast convert case extract
date_part date_trunc date_diff datediff date_add date_sub date adddate subdate day dayname
dayofmonth dayofweek dayofyear day_of_week hour minute month monthname quarter second week weekday
weekofyear year yearweek time timestamp datetime timestampdiff timestampadd timediff make_date
make_time make_timestamp make_interval age to_date to_timestamp to_char to_number epoch epoch_ms
from_unixtime unix_timestamp last_day strftime strptime julian julianday unixepoch microsecond
str_to_date date_format time_format time_to_sec sec_to_time from_days to_days makedate maketime
period_add period_diff now current_date current_time current_timestamp localtime localtimestamp
time_bucket interval
count sum avg min max median mode stddev stddev_pop stddev_samp variance var_pop var_samp corr
covar_pop covar_samp regr_slope regr_intercept regr_r2 regr_count regr_avgx regr_avgy regr_sxx
regr_sxy regr_syy skewness kurtosis entropy mad quantile quantile_cont quantile_disc
percentile_cont percentile_disc approx_count_distinct approx_quantile any_value arg_min arg_max
min_by max_by first last bool_and bool_or bit_and bit_or bit_xor every group_concat string_agg
array_agg listagg total grouping grouping_id histogram product favg fsum
row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
json_extract json_extract_string json_value json_type json_valid json_array_length json_keys
json_object json_array json_unquote json_contains json_quote json
hex unhex bin oct bit_count crc32 sha1 sha2 sha256 conv
typeof
"""

_DUCKDB = """
list_value list_contains list_has list_aggregate list_sum list_avg list_min list_max list_count
list_distinct list_unique list_sort list_reverse_sort list_concat list_extract list_element
list_position list_slice list_transform list_filter list_reduce list_any_value list_zip flatten
array_length array_contains array_extract array_to_string len cardinality contains
prefix suffix starts_with ends_with struct_pack struct_extract row map map_keys map_values
map_extract map_entries map_from_entries element_at unnest range generate_series columns
str_split string_split string_split_regex str_split_regex regexp_matches regexp_extract
regexp_extract_all regexp_full_match regexp_split_to_array levenshtein damerau_levenshtein jaccard
jaro_similarity jaro_winkler_similarity editdist3 hamming strip_accents nfc_normalize
format_bytes ord to_base64 from_base64 base64 hash uuid_extract_timestamp
century decade millennium isodow isoyear era timezone epoch_us epoch_ns make_timestamptz
to_years to_months to_days to_hours to_minutes to_seconds to_milliseconds to_microseconds
date_sub datesub datetrunc datepart bar list array_sort even nextafter xor signbit
count_star count_if countif arbitrary argmin argmax arg_max_null arg_min_null geomean sem
weighted_avg sumkahan kahan_sum kurtosis_pop reservoir_quantile stem list_value array_value
json_array json_structure json_transform from_json to_json json_group_array json_group_object
exclude rename try union_value union_extract union_tag enum_range enum_first enum_last enum_code
 bitstring_agg isoweek yearweek weekday strlen nullif
"""

_SQLITE = """
 char glob like likelihood likely unlikely quote nullif  timediff
json_each json_tree json_group_array json_group_object json_insert json_set json_replace
json_remove json_patch match bm25 snippet highlight unistr substring octet_length concat concat_ws
"""

_POSTGRES = """
array_length array_upper array_lower array_position array_positions array_to_string
array_remove array_replace array_append array_prepend array_cat array_ndims cardinality unnest
string_to_array string_to_table regexp_split_to_array regexp_split_to_table regexp_match
regexp_matches generate_series generate_subscripts starts_with btrim to_hex encode decode
 width_bucket justify_days justify_hours justify_interval date_bin timezone
isfinite make_timestamptz num_nulls num_nonnulls to_json to_jsonb row_to_json array_to_json
json_build_object json_build_array jsonb_build_object jsonb_build_array json_agg jsonb_agg
json_object_agg jsonb_object_agg json_each json_each_text jsonb_each jsonb_each_text
json_array_elements json_array_elements_text jsonb_array_elements jsonb_array_elements_text
json_object_keys jsonb_object_keys json_extract_path json_extract_path_text jsonb_extract_path
jsonb_extract_path_text json_typeof jsonb_typeof jsonb_array_length jsonb_path_exists
jsonb_path_query jsonb_set jsonb_pretty jsonb_strip_nulls json_strip_nulls
row array lower_inc upper_inc isempty lower_inf upper_inf range_merge int4range int8range numrange
tsrange tstzrange daterange multirange date_trunc scale min_scale trim_scale  erf erfc
 normalize  bit_count get_bit sha224 sha384 sha512 point box circle line lseg
path polygon area center diameter height width host netmask network masklen family abbrev
"""

_MYSQL = """
ascii char elt field find_in_set insert make_set mid  strcmp  quote ord
json_arrayagg json_objectagg json_search json_length json_depth json_contains_path json_set
json_insert json_replace json_remove json_merge_patch json_merge_preserve json_pretty json_table
json_exists json_query isnull interval std inet_aton inet_ntoa inet6_aton inet6_ntoa
to_seconds addtime subtime  utc_date utc_time utc_timestamp curdate curtime
convert_tz bit_length to_base64 from_base64 row binary values any_value get_format lengthb
nvl2 add_months months_between chr natural_sort_key
"""


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


FUNCTIONS = {
    "duckdb": words(_COMMON) | words(_DUCKDB),
    "mysql": words(_COMMON) | words(_MYSQL),
    "postgres": words(_COMMON) | words(_POSTGRES),
    "sqlite": words(_COMMON) | words(_SQLITE),
}
"""By dialect, in lower case."""

NOT_FUNCTIONS = words(
    """
    all and any as asc between by case cross cube desc distinct else end except exists false filter
    from full group grouping having ilike in inner intersect is isnull join lateral like limit
    materialized not notnull null offset on or order outer over partition qualify recursive rollup
    rows select sets similar some then true union using values when where window with within
    array bigint binary bit char character date datetime decimal double float int integer interval
    nchar numeric nvarchar real time timestamp timestamptz varbinary varchar
    pivot unpivot exclude replace rename sample tablesample regexp rlike escape ordinality
    """
)
"""Words before a parenthesis that call nothing."""
