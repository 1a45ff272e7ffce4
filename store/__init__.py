"""The store of circuits: archive (Parquet), catalog (SQL), graph, and the single writer of all three."""

from .archive import Archive as Archive
from .catalog import Catalog as Catalog
from .encoding import rounded as rounded
from .graph.neo4j.account import Account as Account
from .interrupts import stopped_by as stopped_by
from .kinds import CIRCUIT as CIRCUIT
from .kinds import DISCOVERY as DISCOVERY
from .kinds import EXAMPLES as EXAMPLES
from .kinds import FITS as FITS
from .kinds import NOTES as NOTES
from .kinds import READOUTS as READOUTS
from .kinds import RESPONSE as RESPONSE
from .listing import Part as Part
from .location import Location as Location
from .location import PartLocations as PartLocations
from .merging import merge_stores as merge_stores
from .opening import create_store as create_store
from .opening import migrate_store as migrate_store
from .opening import open_store as open_store
from .opening import rebuild_store as rebuild_store
from .store import Store as Store
from .writer import Writer as Writer
