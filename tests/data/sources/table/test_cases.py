"""Tables as people have them: each is read right, or refused with what to type."""

# ruff: noqa: E501 - a case reads best on one line

import datetime
import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fraudlab.errors import UserError
from tests.support.tables import load, roles

DAY = datetime.datetime

# A table as text, the settings besides the label y, and the columns that come of it.
RIGHT: dict[str, tuple[str | bytes, dict[str, Any], dict[str, list[Any]]]] = {
    "an index without a name": (",a,y\n0,5,0\n1,6,1\n", {}, {"column_1": [0, 1], "a": [5, 6]}),
    "a trailing comma everywhere": ("a,y,\n1,0,\n2,1,\n", {}, {"row_id": [0, 1], "a": [1, 2], "y": [0, 1]}),
    "a trailing comma in rows alone": ("a,y\n1,0,\n2,1,\n", {}, {"row_id": [0, 1], "a": [1, 2], "y": [0, 1]}),
    "several fraud words": ("k,y\na,ok\nb,atm\nc,web\n", {"fraud_values": ["atm", "web"]}, {"y": [0, 1, 1]}),
    "blanks around values": ("y, amount, kind\n0, 1.5, a\n1, 2.5 ,b \n0,3.5,\ta\n", {}, {
        "amount": [1.5, 2.5, 3.5], "kind": ["a", "b", "a"]}),
    "semicolons": ("a;b;y\n1;x;0\n2;y;1\n", {}, {"a": [1, 2], "b": ["x", "y"]}),
    "tabs": ("a\tb\ty\n1\tx,z\t0\n2\ty,w\t1\n", {}, {"a": [1, 2], "b": ["x,z", "y,w"]}),
    "bars": ("a|y\n1|0\n2|1\n", {}, {"a": [1, 2]}),
    "Hive's separator": ("a\x01b\x01y\n1\x01x\x010\n2\x01z\x011\n", {}, {"a": [1, 2], "b": ["x", "z"]}),
    "what psql prints": (" a | b | y \n---+---+---\n 1 | x | 0\n 2 | z | 1\n(2 rows)\n", {}, {"a": [1, 2], "b": ["x", "z"]}),
    "what mysql prints": ("+---+---+\n| a | y |\n+---+---+\n" + "| 1 | 0 |\n" * 5 + "+---+---+\n5 rows in set (0.00 sec)\n", {}, {"a": [1] * 5}),
    "types under the header": ("a,k,y\nint,text,int\n1,x,0\n2,z,1\n", {}, {"a": [1, 2], "k": ["x", "z"]}),
    "one unit under the header": ("k,t,a,b,c,y\n,,EUR,,,\nx,2024-01-01,1,5,5,0\nz,2024-01-02,2,5,5,1\n", {}, {"k": ["x", "z"], "a": [1, 2]}),
    "types of pandas": ("t,a,n,k,y\ntimestamp,float64,Int32,object,int8\n" + "2024-01-01 10:00,1.5,3,DE,0\n" * 2, {}, {"a": [1.5, 1.5]}),
    "types of SQL": ('a,n,k,y\n"DECIMAL(10,2)",INT,VARCHAR(2),TINYINT(1)\n1.5,3,DE,0\n2.5,4,FR,1\n', {}, {"a": [1.5, 2.5]}),
    "missing numbers first": ("k,m,a,y\nC1,M1,n.a.,0\nC2,M2,5,1\nC3,M1,6,0\n", {"missing_values": ["n.a."]}, {"a": [None, 5, 6]}),
    "a first row of dashes": ("k,a,y\n--,-,--\nx,5,1\nz,6,0\n", {"unlabelled": "genuine"}, {"a": [None, 5, 6]}),
    "a unit that is a value": ("k,a,y\ntext,EUR,0\ntext,5,1\ntext,6,0\n", {"missing_values": ["EUR"]}, {"a": [None, 5, 6]}),
    "an unknown age first": ("t,k,a,y\n01-Jan-2024 00:00,C21,unknown,no\n02-Jan-2024 00:00,C3,20,yes\n", {
        "fraud_values": ["yes"], "missing_values": ["unknown"]}, {"a": [None, 20]}),
    "words under the header": ("k,a,b,y\nx,low,1,0\nz,5,2,1\n", {"categorical": ["a"]}, {"a": ["low", "5"], "b": [1, 2]}),
    "codes as formulas": ('c,n,y\n"=""0012""","=""1.5""",0\n="0013",="3",1\n', {}, {"c": ["0012", "0013"], "n": [1.5, 3.0]}),
    "telephones": ("p,y\n+4915112345,0\n+4915212345,1\n", {}, {"p": ["+4915112345", "+4915212345"]}),
    "numbers with three points": ("v,y\n1.2.3,0\n1.10.0,1\n", {}, {"v": ["1.2.3", "1.10.0"]}),
    "0 and 1 and no label": ("a,y\n1,0\n2,1\n3,NA\n", {"unlabelled": "leave_out", "fraud_values": ["1"]}, {"a": [1, 2], "y": [0, 1]}),
    "runs of blanks, no header": ("A11  6 1169 0\nA12 48 5951 1\n", {"label": "column_4"}, {
        "column_1": ["A11", "A12"], "column_3": [1169, 5951]}),
    "semicolons and decimal commas": ("a;y\n1,5;0\n-2,25;1\n", {"decimal": ","}, {"a": [1.5, -2.25]}),
    "dollars": ("a,y\n$134.09,0\n$-77.00,1\n\"$1,234.50\",0\n", {"currency": True, "thousands": ","}, {
        "a": [134.09, -77.0, 1234.5]}),
    "a currency behind": ("a;y\n1.234,50 €;0\n12 EUR;1\n", {"currency": True, "decimal": ",", "thousands": "."}, {
        "a": [1234.5, 12.0]}),
    "thousands": ("a,y\n\"1,234\",0\n999,1\n", {"thousands": ","}, {"a": [1234, 999]}),
    "blanks between thousands": ("a,y\n1 234.5,0\n1\u00a0000 000,1\n", {"thousands": " "}, {"a": [1234.5, 1e6]}),
    "percent": ("a,y\n12.5%,0\n3 %,1\n", {"percent": True}, {"a": [0.125, 0.03]}),
    "brackets": ("a,y\n(12.50),0\n3.00,1\n", {"brackets": True}, {"a": [-12.5, 3.0]}),
    "dollars before brackets": ("a,y\n$(12.50),0\n$3,1\n", {"brackets": True, "currency": True}, {"a": [-12.5, 3.0]}),
    "words for a missing number": ("a,y\nNA,0\n3.5,1\nN/A,0\nnull,1\nnan,0\n#N/A,0\n", {}, {
        "a": [None, 3.5, None, None, None, None]}),
    "numbers as pandas writes them": ("code,y\n5.0,0\n,1\n9.0,0\n", {"categorical": ["code"]}, {"code": [5, None, 9]}),
    "short rows": ("y,a,b\n1,2,3\n0,5\n1\n", {}, {"a": [2, 5, None], "b": [3, None, None]}),
    "two columns of one name": ("a,a,y\n1,2,0\n3,4,1\n", {}, {"a": [1, 3], "a_2": [2, 4]}),
    "Windows' letters": ("city,y\nMünchen,0\nKöln,1\n".encode("cp1252"), {"encoding": "cp1252"}, {
        "city": ["München", "Köln"]}),
    "UTF-16": ("city,y\nMünchen,0\nKöln,1\n".encode("utf-16"), {}, {"city": ["München", "Köln"]}),
    "UTF-32": ("city,y\nMünchen,0\nKöln,1\n".encode("utf-32"), {}, {"city": ["München", "Köln"]}),
    "UTF-16 with a line end in a cell": ("city;y\n\"Bad\nHomburg\";0\nKöln;1\n".encode("utf-16"), {}, {
        "city": ["Bad\nHomburg", "Köln"]}),
    "UTF-16 without a mark": ("city,y\nOslo,0\nRome,1\n".encode("utf-16-le"), {}, {"city": ["Oslo", "Rome"]}),
    "a mark of UTF-8": (b"\xef\xbb\xbfcity,y\nOslo,0\nRome,1\n", {}, {"city": ["Oslo", "Rome"]}),
    "Windows' line ends": ("a,y\r\n1,0\r\n2,1\r\n", {}, {"a": [1, 2]}),
    "line ends of old": ("a,y\r1,0\r2,1\r", {}, {"a": [1, 2]}),
    "title lines": ("Report of May\n\na,y\n1,0\n2,1\n", {}, {"a": [1, 2]}),
    "Excel's line": ("sep=;\na;y\n1;0\n2;1\n", {}, {"a": [1, 2]}),
    "a total below the table": ("id,a,y\nx1,2,0\nx2,5,1\nTotal,7,\n", {"id": "id"}, {"id": ["x1", "x2"], "a": [2, 5]}),
    "a category of the name of a total": ("k,a,y\ntotal,2,0\npart,5,1\ntotal,,1\n", {}, {"k": ["total", "part", "total"]}),
    "a database's count of rows": ("a;k;y\n1;x;0\n2;z;1\n\n(2 rows affected)\n", {}, {"a": [1, 2], "y": [0, 1]}),
    "a remark below the table and a packed file": (gzip.compress(b"a,k,y\n1,x,0\n2,z,1\n\nTotal:,3,\nPrinted on 2024-01-31\n", mtime=0), {}, {"a": [1, 2]}),
    "a last row with a name alone": ("y,who\n0,ann\n1,Joe Smith\n0,\n", {}, {"who": ["ann", "Joe Smith", None]}),
    "remarks between rows": ("# fees, 2024\na,k,y\n1,x,0\n# new, better, with more commas, than columns\n2,#9,1\n#end\n", {}, {"a": [1, 2], "k": ["x", "#9"]}),
    "a remark as wide as the table": ("# of 2024, all, yes\na,k,y\n1,x,0\n2,z,1\n", {"label": "y"}, {"a": [1, 2]}),
    "codes behind a mark": ("k,a,y\n#1,2,0\n#2,5,1\nx,6,1\n", {}, {"k": ["#1", "#2", "x"]}),
    "addresses behind a mark": ("k,a,y,n\n# 12 Main,2,0,x\n## 5,5,1,\nx,6,1,z\n#end,,,\n", {}, {"k": ["# 12 Main", "## 5", "x"]}),
    "a remark in UTF-16": ("a,k,y\n1,x,0\n2,z,1\nTotal,,\n".encode("utf-16"), {}, {"a": [1, 2]}),
    "files one behind the other": ("a,k,y\n1,x,0\na,k,y\n2,z,1\n", {}, {"a": [1, 2], "k": ["x", "z"], "y": [0, 1]}),
    "accents apart": ("La\u0308nge,y\n1,0\n2,1\n", {"numeric": ["L\u00e4nge"]}, {"L\u00e4nge": [1, 2]}),
    "blank lines": ("y,a\n1,2\n\n0,5\n\n\n1,7\n,\n", {}, {"a": [2, 5, 7]}),
    "no header": ("23,1,0.17,0\n55,1,0.16,1\n", {"columns": ["id", "b", "c", "y"]}, {"id": [23, 55], "c": [0.17, 0.16]}),
    "single quotes": ("who,zip,y\n'C1','28007',0\n'C2','28007',1\n", {}, {"who": ["C1", "C2"], "zip": [28007, 28007]}),
    "a separator in single quotes": ("who,y\n'C,1',0\n'C,2',1\n", {}, {"who": ["C,1", "C,2"]}),
    "quotes as characters": ("a,y\n\"3 inch,0\nx,1\n\"y,0\n", {"quote": "none"}, {"a": ['"3 inch', "x", '"y']}),
    "a quote inside of a text": ('a,y\n3" pipe,0\nx,1\n', {}, {"a": ['3" pipe', "x"]}),
    "a quoted line end": ('a,y\n"two\nlines",0\n"x, ""q""",1\n', {}, {"a": ["two\nlines", 'x, "q"']}),
    "zeros before a code": ("zip,y\n00501,0\n90210,1\n", {}, {"zip": ["00501", "90210"]}),
    "true and false": ("a,y\nTRUE,0\nFalse,1\n", {}, {"a": [True, False]}),
    "a missing 0 and a label of 0 and 1": ("a,y\n0,0\n3,1\n", {"missing_values": ["0"]}, {"a": [None, 3]}),
    "exponents": ("a,y\n1e3,0\n+.5,1\n", {}, {"a": [1000.0, 0.5]}),
    "month first": ("t,y\n1/2/2024 2:47,0\n1/13/2024 12:05,1\n", {"time": "t"}, {
        "t": [DAY(2024, 1, 2, 2, 47), DAY(2024, 1, 13, 12, 5)]}),
    "day first": ("t,y\n1.2.2024,0\n13.2.2024,1\n", {"time": "t"}, {"t": [DAY(2024, 2, 1), DAY(2024, 2, 13)]}),
    "a given form": ("t,y\n01/02/2024 09:00:00 PM,0\n01/03/2024 09:00:00 AM,1\n", {
        "time": "t", "time_format": "%d/%m/%Y %I:%M:%S %p"}, {"t": [DAY(2024, 2, 1, 21), DAY(2024, 3, 1, 9)]}),
    "year first in several forms": ("t,y\n2024-01-02,0\n2024-01-02 10:00,1\n2024-01-03T10:00:00.123,0\n2024/01/04,1\n", {
        "time": "t"}, {"t": [DAY(2024, 1, 2), DAY(2024, 1, 2, 10), DAY(2024, 1, 3, 10, 0, 0, 123000), DAY(2024, 1, 4)]}),
    "offsets": ("t,y\n2024-03-10T01:30:00-05:00,0\n2024-03-10 06:31:00Z,1\n20240310T063200 UTC,1\n", {"time": "t"}, {
        "t": [DAY(2024, 3, 10, 6, 30), DAY(2024, 3, 10, 6, 31), DAY(2024, 3, 10, 6, 32)]}),
    "a given zone": ("t,y\n2024-07-01T12:00:00,0\n2024-07-01T11:00:00Z,1\n", {"time": "t", "time_zone": "Europe/Paris"}, {
        "t": [DAY(2024, 7, 1, 10), DAY(2024, 7, 1, 11)]}),
    "milliseconds": ("t,y\n1704067200000,0\n1704070800500,1\n", {"time": "t"}, {
        "t": [DAY(2024, 1, 1), DAY(2024, 1, 1, 1, 0, 0, 500000)], "t_as_read": [1704067200000, 1704070800500]}),
    "seconds since 1970": ("t,y\n1704067200,0\n1704070800,1\n", {"time": "t"}, {"t": [DAY(2024, 1, 1), DAY(2024, 1, 1, 1)]}),
    "days as numbers": ("t,y\n20240131,0\n20240201,1\n", {"time": "t"}, {"t": [DAY(2024, 1, 31), DAY(2024, 2, 1)]}),
    "Excel's days": ("t,y\n45292,0\n45292.5,1\n", {"time": "t", "time_unit": "excel"}, {
        "t": [DAY(2024, 1, 1), DAY(2024, 1, 1, 12)]}),
    "steps of an hour": ("step,y\n1,0\n743,1\n", {"time": "step", "time_unit": "hours"}, {"step": [3600, 743 * 3600]}),
    "seconds from a start": ("t,y\n\"0 \",0\n172792,1\n", {"time": "t"}, {"t": [0, 172792]}),
    "the year of two digits first": ("t,y\n24/01/30,0\n24/01/31,1\n24/02/13,0\n" + "".join(f"24/03/{n:02},1\n" for n in range(1, 32)), {"time": "t"}, {
        "t": [DAY(2024, 1, 30), DAY(2024, 1, 31), DAY(2024, 2, 13), *(DAY(2024, 3, n) for n in range(1, 32))]}),
    "two digits of a year behind": ("t,y\n" + "".join(f"{n:02}-03-24,{n % 2}\n" for n in range(1, 32)), {"time": "t"}, {
        "t": [DAY(2024, 3, n) for n in range(1, 32)]}),
    "the year first and an afternoon": ("t,y\n2024-01-13 01:05:00 PM,0\n2024-01-13 12:00:00 AM,1\n", {"time": "t"}, {
        "t": [DAY(2024, 1, 13), DAY(2024, 1, 13, 13, 5)]}),
    "Oracle's": ("t,y\n13-JAN-24 10.11.12.000000 AM,0\n13-JAN-24 01.00.00.500000 PM,1\n", {"time": "t"}, {
        "t": [DAY(2024, 1, 13, 10, 11, 12), DAY(2024, 1, 13, 13, 0, 0, 500000)]}),
    "a mail's": ('t,y\n"Sat, 13 Jan 2024 10:00:00 +0100",0\n"Sat, 13 Jan 2024 10:00:00 +0000",1\n', {"time": "t"}, {
        "t": [DAY(2024, 1, 13, 9), DAY(2024, 1, 13, 10)]}),
    "the web's": ('t,y\n"Sat, 13 Jan 2024 10:00:00 GMT",0\n"Sat, 13 Jan 2024 11:00:00 GMT",1\n', {
        "time": "t", "time_zone": "Europe/Paris"}, {"t": [DAY(2024, 1, 13, 10), DAY(2024, 1, 13, 11)]}),
    "a log's": ("t,y\n13/Jan/2024:10:00:00 -0500,0\n13/Jan/2024:10:00:00 +0000,1\n", {"time": "t"}, {
        "t": [DAY(2024, 1, 13, 10), DAY(2024, 1, 13, 15)]}),
    "a comma before fractions": ('t,y\n"13.01.2024 10:11:12,500",0\n"14.01.2024 10:11:12,000",1\n', {"time": "t"}, {
        "t": [DAY(2024, 1, 13, 10, 11, 12, 500000), DAY(2024, 1, 14, 10, 11, 12)]}),
    "Java's": ("t,y\n2024-01-13T10:00:00+01:00[Europe/Paris],0\n2024-01-13t10:00:00z,1\n", {"time": "t"}, {
        "t": [DAY(2024, 1, 13, 9), DAY(2024, 1, 13, 10)]}),
    "year first and day first": ("t,y\n2024-01-03,0\n13/01/2024,1\n", {"time": "t", "time_format": "%d/%m/%Y"}, {
        "t": [DAY(2024, 1, 3), DAY(2024, 1, 13)]}),
    "seconds since 1970 without those that are none": ("t,y\n1704067200,0\n0,1\n1704070800,1\n", {
        "time": "t", "where": "t NOT IN (0)"}, {"t": [DAY(2024, 1, 1), DAY(2024, 1, 1, 1)]}),
    "hours as a number": ("t,y\n2024011310,0\n2024011311,1\n2024021223,0\n", {
        "derive": {"moment": "STRPTIME(CAST(t AS VARCHAR) || '00', '%Y%m%d%H%M')"}, "time": "moment"}, {
            "moment": [DAY(2024, 1, 13, 10), DAY(2024, 1, 13, 11), DAY(2024, 2, 12, 23)]}),
    "days first as a number": ("t,y\n5012024,0\n13012024,1\n14012024,0\n", {
        "derive": {"moment": "STRPTIME(RIGHT('0' || CAST(t AS VARCHAR), 8), '%d%m%Y')"}, "time": "moment"}, {
            "moment": [DAY(2024, 1, 5), DAY(2024, 1, 13), DAY(2024, 1, 14)]}),
    "when labels became known": ("t,k,y\n03/01/2024,05/02/2024,0\n13/01/2024,06/02/2024,1\n", {
        "time": "t", "label_time": "k"}, {"k": [DAY(2024, 2, 5), DAY(2024, 2, 6)]}),
    "a given form of when labels became known": ("t,k,y\n2024-01-03,05/02/2024,0\n2024-01-13,06/02/2024,1\n", {
        "time": "t", "label_time": "k", "time_format": "%d/%m/%Y"}, {"k": [DAY(2024, 2, 5), DAY(2024, 2, 6)]}),
    "hours until labels became known": ("t,k,y\n1,30,0\n700,743,1\n", {
        "time": "t", "label_time": "k", "time_unit": "hours"}, {"k": [30 * 3600, 743 * 3600]}),
    "months as numbers": ("m,y\n01.2018,0\n10.2019,1\n12.2020,1\n", {
        "time": "t", "derive": {"t": "STRPTIME('0' || CAST(CAST(ROUND(m * 10000) AS INT) + 1000000 AS VARCHAR), '%d%m%Y')"}},
        {"t": [DAY(2018, 1, 1), DAY(2019, 10, 1), DAY(2020, 12, 1)]}),
    "rows left out": ("t,y\n2024-01-02,0\n9999-12-31,1\n", {"time": "t", "where": "t < '2100'"}, {"t": [DAY(2024, 1, 2)]}),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_a_table_is_read_right(case: str, tmp_path: Path) -> None:
    text, settings, expected = RIGHT[case]
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = load(path, **{"label": "y", **settings})
    frame = source.frame.collect()
    assert {name: frame[name].to_list() for name in expected} == expected
    if "row_id" in expected:
        assert frame.columns == list(expected)
    again = load(path, **{"label": "y", **settings})  # from the cache
    assert again.schema == source.schema
    assert again.frame.collect().equals(frame)


# A table as text, the settings, and what the refusal says.
REFUSED: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "a column without a name": (",a,y\n0,5,0\n1,6,1\n", {"id": ""}, "data.id=: .* is called by its number: column_1, a"),
    "more words than two": ("a,y\n1,unknown\n2,1\n3,2\n", {"fraud_values": ["1"]}, (
        r"unknown \(1\); the meaning of 2, unknown is not given: .* data.genuine_values=.*data.unlabelled=leave_out")),
    "a missing label": ("a,y\n1,0.0\n2,\n3,1.0\n", {}, "missing in 1 rows; data.unlabelled=leave_out"),
    "0 and 1 and a word": ("a,y\n1,0\n2,1\n3,NA\n", {}, "the meaning of NA is not given: .*data.unlabelled=leave_out"),
    "frauds alone": ("a,y\n1,bad\n2,ok\n3,?\n", {"fraud_values": ["bad"], "unlabelled": "leave_out"}, (
        r"would leave frauds alone: .*data.genuine_values=\[…\], of \?, ok")),
    "credits and debits": ("a,y\n5.00 CR,0\n3.00 DR,1\n", {"amount": "a"}, "write all of them as -1234.5"),
    "months": ("t,y\nJan-24,0\nFeb-24,1\n", {"time": "t"}, r"a month without a day; .*STRPTIME\(.*%d %b-%y.* data.time=moment"),
    "months with a dot": ("t,y\n01.2018,0\n12.2020,1\n", {"time": "t"}, (
        r"such as 01.2018 are a month without a day; .*STRPTIME\(.*%d%m%Y.* data.time=moment")),
    "months in words": ("t,y\nJan 2018,0\nFeb 2018,1\n", {"time": "t"}, r"a month without a day; .*STRPTIME\(.*%d %b %Y.* data.time=moment"),
    "long months": ("t,y\nJanuary 2018,0\nMarch 2018,1\n", {"time": "t"}, r"a month without a day; .*STRPTIME\(.*%d %B %Y.* data.time=moment"),
    "dollars": ("a,y\n$1.50,0\n$2.50,1\n", {}, r"a looks like numbers \('\$1.50', .*data.currency=true, or .*categorical"),
    "dollars of an amount": ("a,y\n$1.50,0\n$2.50,1\n", {"amount": "a"}, "data.currency=true"),
    "two ways in two columns": ("a,b,y\n(1),2%,0\n(3),4%,1\n", {}, "a looks .*b looks .* data.brackets=true or data.percent"),
    "a decimal comma": ('a,y\n"1000,5",0\n"2,25",1\n', {}, "say how they are written, data.decimal=','"),
    "thousands or decimals": ('a,y\n"1,234",0\n"5,678",1\n', {}, "data.decimal=',' or data.thousands=\",\""),
    "a word among numbers": ("a,y\nx,0\n2,1\n", {"numeric": ["a"]}, "a is numeric but holds 'x', .*data.missing_values"),
    "the wrong separator": ("a;b;y\n1;2;0\n", {"separator": ","}, "data.label=y: the table has no such column; .*a;b;y"),
    "another encoding": ("city,y\nMünchen,0\n".encode("cp1252"), {}, "not UTF-8; data.encoding=cp1252 .* would read 'München'"),
    "late bytes in another encoding": (b"a,y\n" + b"x,0\n" * 90_000 + b"t\xeate,1\n", {}, "data.encoding=cp1252 .*'tête'"),
    "the wrong encoding": (b"a,y\nt\xeate,1\n", {"encoding": "utf-16"}, "data.encoding=utf-16 does not read"),
    "an unknown encoding": (b"a,y\nt\xeate,1\n", {"encoding": "cp99"}, "data.encoding=cp99 does not read"),
    "a quote that is not closed": ('y,a\n1,ok\n0,"cut', {}, "line 3: a quote .* opens there and is not closed .*data.quote="),
    "a stray quote": ('y,a\n1,ok\n0,"3 inch\n1,fine\n1,"x"\n', {}, "line 3: a quote .*data.quote=none"),
    "too many fields": ("y,a\n1,2\n0,5\n1,3,9\n", {}, "line 4 has 3 fields where the table has 2 columns: '1,3,9'"),
    "fields behind a trailing comma": ("y,a\n" + "1,2,\n" * 300 + "0,3,9\n", {}, "line 302 has 3 fields"),
    "no header": ("23,1,0.17,0\n55,1,0.16,1\n", {}, "the table has no such column; the table has: column_1, column_2"),
    "too few names": ("23,1,0\n55,1,1\n", {"columns": ["a", "y"]}, "data.columns names 2 columns, but .* has 3"),
    "a header and no row": ("a,y\n", {}, "has no rows"),
    "a mark before the header": ("#y,a\n1,2\n", {}, "did you mean #y"),
    "a time that can be two": ("t,y\n01/02/2024,0\n03/04/2024,1\n", {"time": "t"}, (
        "'01/02/2024' can be read in several ways; say data.time_format='%m/%d/%Y' .*2024-01-02.* or .*'%d/%m/%Y'")),
    "no time at all": ("t,y\nMonday,0\nTuesday,1\n", {"time": "t"}, "not a time in any known format; give .*%d day.*data.time_format='%d.%m.%Y %H:%M'"),
    "one time in another form": ("t,y\n1/2/2024,0\n12/31/2023,0\n31/12/2023,1\n", {"time": "t"}, (
        "'%m/%d/%Y' .as 01/31/2024. reads 2 of 3 values but not '31/12/2023'; .*data.where=\"t <> '31/12/2023'\"")),
    "a zone in some rows": ("t,y\n2024-03-10T01:30:00-05:00,0\n2024-03-10T06:31:00,1\n", {"time": "t"}, (
        "1 rows have no time zone and 1 have one; .*data.time_zone=UTC")),
    "numbers of no known unit": ("step,y\n1,0\n743,1\n", {"time": "step"}, r"data.time_unit=hours \(30.9 days in all\)"),
    "Excel's days without a word": ("t,y\n45292,0\n45657,1\n", {"time": "t"}, r"data.time_unit=excel \(2024-01-01 to 2024-12-31\)"),
    "the wrong unit": ("t,y\n5,0\n7,1\n", {"time": "t", "time_unit": "milliseconds"}, "data.time_unit=milliseconds does not fit"),
    "one odd number among seconds": ("t,y\n" + "".join(f"{1704067200 + n},{n % 2}\n" for n in range(999)) + "0,0\n", {"time": "t"}, (
        r"999 of 1,000 numbers are times in epoch_seconds, but others are not: 0; .*data.where='t NOT IN \(0\)'")),
    "seconds and milliseconds": ("t,y\n1704067200,0\n1704067200000,1\n1704067201,0\n", {"time": "t"}, "but others are not: 1704067200000;"),
    "a day that is none": ("t,y\n20240228,0\n20240229,1\n20240230,0\n", {"time": "t"}, "2 of 3 numbers .*yyyymmdd.*: 20240230;"),
    "a given unit and a day that is none": ("t,y\n20240228,0\n20240229,1\n20240230,0\n", {
        "time": "t", "time_unit": "yyyymmdd"}, "2 of 3 numbers .*yyyymmdd.*: 20240230;"),
    "hours as a number": ("t,y\n2024011310,0\n2024011311,1\n2024021223,0\n", {"time": "t"}, (
        r"all numbers are dates in the form %Y%m%d%H, .*STRPTIME\(CAST\(t AS VARCHAR\) \|\| \\'00\\', \\'%Y%m%d%H%M\\'\).*epoch_seconds")),
    "months as numbers": ("t,y\n202401,0\n202402,1\n202312,0\n", {"time": "t"}, r"in the form %Y%m, .*'%Y%m\\'\)"),
    "days of two forms as numbers": ("t,y\n240113,0\n240114,1\n240131,0\n", {"time": "t"}, "in the form %y%m%d or %d%m%y"),
    "days of the year as numbers": ("t,y\n2024013,0\n2024014,1\n2024200,0\n", {"time": "t"}, "in the form %Y%j"),
    "seconds of decades": ("t,y\n1,0\n3000000,1\n100000000000,0\n", {"time": "t"}, "span more than 30 years in seconds; say data.time_unit"),
    "year first and day first": ("t,y\n2024-01-03,0\n13/01/2024,1\n", {"time": "t"}, (
        r"1 of 2 values have the year first, others not \('13/01/2024'\); data.time_format='%d/%m/%Y' reads both")),
    "two digits of a year at either end": ("t,y\n24/01/13,0\n24/01/13,1\n", {"time": "t"}, "'%d/%m/%y' .*2013-01-24.*or .*'%y/%m/%d' .*2024-01-13"),
    "a time that a zone lacks": ("t,y\n2024-03-31 02:30:00,0\n2024-03-31 04:00:00,1\n", {"time": "t", "time_zone": "Europe/Paris"}, (
        "'2024-03-31 02:30:00' does not exist in Europe/Paris, whose clocks were put forward then; .*data.time_zone=UTC")),
    "a form as in Java": ("t,y\n13/01/2024,0\n14/01/2024,1\n", {"time": "t", "time_format": "dd/mm/yyyy"}, "no format: .*'%d/%m/%Y"),
    "a form that reads nothing": ("t,y\n13/01/2024,0\n14/01/2024,1\n", {"time": "t", "time_format": "%Y.%m"}, "not a time written as 2024.01 .data.time_format='%Y.%m'."),
    "no such zone": ("t,y\n2024-01-13,0\n2024-01-14,1\n", {"time": "t", "time_zone": "Europe/Pariss"}, "no such time zone; did you mean Europe/Paris"),
    "when labels became known in two ways": ("t,k,y\n2024-01-03,05/02/2024,0\n2024-01-04,06/02/2024,1\n", {
        "time": "t", "label_time": "k"}, r"data.label_time=k: '05/02/2024' can be read in several ways; .*data.derive=.*data.label_time=known_at"),
    "a missing time": ("t,y\n2024-01-01,0\n,1\n", {"time": "t"}, 'missing in 1 rows; .*data.where="t IS NOT NULL"'),
    "a doubled id": ("id,y\nA,0\nA,1\n", {"id": "id"}, "A occurs in several rows"),
    "a cast to a time": ("t,y\n1/13/2024 2:47,0\n", {"derive": {"when": "CAST(t AS TIMESTAMP)"}}, (
        r"data.derive.when: casting .* t is text, which STRPTIME\(t, '%m/%d/%Y %H:%M'\) reads as a time")),
    "an expression that fails": ("t,u,y\n2024-01-13,x,0\n2024-01-14,x,1\n", {"derive": {"v": "1", "d": "STRPTIME(t, '%d.%m.%Y')"}}, (
        r"data.derive.d: t is '2024-01-13', not a time written as 31.01.2024; STRPTIME\(t, '%Y-%m-%d'\) reads")),
    "a day and a clock": ("t,u,y\n2024-01-13,10:00,0\n2024-01-14,noon,1\n", {"derive": {"d": "STRPTIME(t || ' ' || u, '%Y-%m-%d %H:%M')"}}, (
        "data.derive.d: .* is '2024-01-14 noon', not a time written as 2024-01-31 14:30 ")),
    "words that an expression does not read": ("t,y\n2024-01-13,0\nsoon,1\n", {"derive": {"d": "STRPTIME(t, '%Y-%m-%d')"}}, (
        "data.derive.d: t is 'soon', not a time written as 2024-01-31")),
    "a condition on nothing": ("a,y\n1,0\n", {"where": "b > 1"}, "data.where: .*b.*; give a SQL expression over the columns"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_is_refused_with_what_to_type(case: str, tmp_path: Path) -> None:
    text, settings, message = REFUSED[case]
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError, match=message):
        load(path, **{"label": "y", **settings})


# A table as text, the settings, what is said, and the roles of some columns.
SAID: dict[str, tuple[str, dict[str, Any], str, dict[str, str | None]]] = {
    "an index": (",a,y\n0,5,0\n1,6,1\n", {}, r"not inputs: column_1 \(the number of the row", {"column_1": "carried"}),
    "an empty column": ("a,y,\n1,0,\n", {}, "column_3 .an empty column without a name", {"column_3": None}),
    "a number of the row with a name": (
        "n,y\n" + "".join(f"{n},{n % 2}\n" for n in range(1, 201)), {}, r"not inputs: n \(the number of the row", {
            "n": "carried"}),
    "a derived label": ("status,y0,a\nok,0,1\nbad,1,2\n", {
        "label": "y", "derive": {"y": "CASE WHEN status = 'bad' THEN 1 ELSE 0 END"}}, (
        r"not inputs: status \(read by data.derive for a label"), {"status": "carried", "a": "numeric", "y0": "numeric"}),
    "a derived time": ("filed,b,y\n1/13/2024,1,0\n1/14/2024,2,1\n", {
        "time": "day", "derive": {"day": "STRPTIME(filed, '%m/%d/%Y')"}}, "not inputs: filed", {"filed": "carried"}),
    "a derived amount of two steps": ("gross,tax,y\n5,1,0\n6,2,1\n", {
        "amount": "cents", "derive": {"net": "gross - tax", "cents": "net * 100"}}, "not inputs: gross, tax, net", {
            "gross": "carried", "net": "carried", "cents": "amount"}),
    "a derived amount and a role": ("gross,y\n5,0\n6,1\n", {
        "amount": "cents", "derive": {"cents": "gross * 100"}, "numeric": ["gross"]}, "", {"gross": "numeric"}),
    "a derived input": ("gross,y\n5,0\n6,1\n", {"derive": {"cents": "gross * 100"}}, "", {
        "gross": "numeric", "cents": "numeric"}),
    "one odd cell": ("a,y\n" + "1.5,0\n2.5,1\n" * 250 + "lost,0\n", {}, (
        r"column a holds numbers and 1 other cells \('lost' 1 times\).*data.missing_values=\['lost'\]"), {"a": "numeric"}),
    "words for missing numbers": ("a,y\nNA,0\n3,1\n", {}, "column a: 1 cells such as NA", {"a": "numeric"}),
    "short rows": ("y,a,b\n1,2,3\n0,5\n1\n", {}, "2 lines have fewer fields than the 3 columns", {"b": "numeric"}),
    "units": ("a,k,y\nEUR,,(0/1)\n1,x,0\n2,z,1\n", {}, r"a line under the header is left out, line 2, .*'EUR,,\(0/1\)'", {"a": "numeric", "k": "categorical"}),
    "addresses of mail": ("m,y\n" + "".join(f"u{n}@b.{('de', 'fr')[n % 2]},{n % 2}\n" for n in range(200)), {}, r"SPLIT_PART\(m, .*domains", {"m": "carried"}),
    "two columns of one name": ("a,a,y\n1,2,0\n", {}, "several columns are called a: a further one is a_2", {"a_2": "numeric"}),
    "title lines": ("Report of May\n\na,y\n1,0\n", {}, "1 lines before the table are left out, the first: 'Report of May'", {}),
    "no header": ("23,1\n55,0\n", {"label": "column_2"}, "no header was found .*23, 1", {"column_1": "numeric"}),
    "zeros before codes": ("zip,y\n00501,0\n90210,1\n", {}, r"column zip has zeros before its numbers \(00501\)", {
        "zip": "categorical"}),
    "dates": ("dob,y\n1988-03-09,0\n1990-01-01,1\n", {}, "not inputs: dob .a date as text; data.time=dob", {"dob": "carried"}),
    "a word a row": ("name,kind,y\n" + "".join(f"n{n},k{n % 3},{n % 2}\n" for n in range(300)), {}, (
        r"not inputs: name \(nearly a word a row \(300 in 300\); data.categorical=\[name\]"), {
            "name": "carried", "kind": "categorical"}),
    "the label's words": ("a,y\n1,No\n2,Yes\n3,No\n", {"fraud_values": ["Yes"]}, r"y: No \(2\), Yes \(1\); fraud: Yes", {}),
    "the form of times": ("t,y\n1/13/2024,0\n", {"time": "t"}, "data.time_format='%m/%d/%Y', days and hours as they are", {}),
    "the unit of times": ("t,y\n1704067200000,0\n", {"time": "t"}, "read as milliseconds: 2024-01-01 to 2024-01-01", {}),
    "names of the aftermath": ("isFlaggedFraud,a,y\n1,1.5,0\n0,2.5,1\n", {}, (
        r"column isFlaggedFraud, by name known only after a fraud: data.carried=\[isFlaggedFraud\]"), {}),
    "codes": ("mcc,user_id,age,y\n5411,17,40,0\n5300,18,41,1\n", {}, (
        r"columns mcc, user_id: whole numbers that look like codes; data.categorical=\[mcc, user_id\]"), {"mcc": "numeric"}),
    "few numbers": ("kind,y\n" + "97,0\n98,1\n" * 100, {}, "column kind: whole numbers that look like codes", {}),
    "days far away": ("t,y\n2024-01-01,0\n9999-12-31,1\n1900-01-01,0\n", {"time": "t"}, (
        r"2 rows have implausible dates in t, .*\('1900-01-01', '9999-12-31'\).*data.where='t NOT IN \(\\'1900-01-01\\', \\'9999-12-31\\'\)'"), {}),
    "days to come": ("t,y\n2024-01-01,0\n" + "".join(f"20{n}-01-01,1\n" for n in range(61, 90)), {"time": "t"}, (
        r"29 rows have implausible dates.* in the future .*data.where=.EXTRACT\(year FROM t\) BETWEEN 1971 AND 20"), {}),
    "ids that lost digits": ("cc,y\n2.30000E+15,0\n4.71000E+15,1\n", {"card": "cc"}, (
        "column cc: all values are multiples of 1,000,000: the last digits were lost"), {"cc": "card"}),
    "fractions of three digits": ("a,y\n1.234,0\n999,1\n12.500,0\n", {}, (
        "column a: every fraction has three digits, .*data.decimal=',' data.thousands='.'"), {"a": "numeric"}),
    "a total": ("id,a,y\nx1,2,0\nx2,5,1\nTotal,7,\n", {}, "1 lines after the table are left out, the first: 'Total,7,'", {}),
    "remarks": ("a,y\n1,0\n# new\n2,1\n", {}, "1 lines that begin with # are left out, the first: '# new'", {}),
    "a header again": ("a,k,y\n1,x,0\na,k,y\n2,z,1\n", {}, "1 lines repeat the header and are left out", {}),
    "offsets of times": ("t,y\n2024-01-01T10:00Z,0\n", {"time": "t"}, "year first, converted to UTC", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_what_is_guessed_or_left_out_is_said(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text, settings, message, expected = SAID[case]
    path = tmp_path / "t.csv"
    path.write_text(text)
    source = load(path, **{"label": "y", **settings})
    said = [record.getMessage() for record in caplog.records]
    assert message == "" or any(pl.Series([line]).str.contains(message).item() for line in said), said
    assert len(set(said)) == len(said)
    assert {name: roles(source).get(name) for name in expected} == expected
